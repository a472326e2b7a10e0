package io.sealpoint.bench;
final class Core { static void read(java.nio.file.Path p, Samples s) {} }
