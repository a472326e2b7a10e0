/**
 * Sealed streams for Java, over the native library: {@link io.sealpoint.SealpointEngine} holds a configuration and its keys,
 * {@link io.sealpoint.SealedOutputStream} seals what is written to a {@link io.sealpoint.ByteSink}, {@link io.sealpoint.SealedInputStream} opens what a
 * {@link io.sealpoint.ByteSource} gives. Needs the JDK and nothing else; knows nothing of Flink. Keys never enter the Java heap.
 *
 * <p>From the outside in: streams buffer and cut into chunks; {@code Sealer} and {@code Opener} hand batches of chunks to the native library;
 * {@code NativeResource} guards their addresses; {@code Native} declares the functions; {@code NativeLoader} loads them.
 */
package io.sealpoint;
