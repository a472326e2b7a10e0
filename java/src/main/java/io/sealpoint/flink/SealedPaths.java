package io.sealpoint.flink;

import org.apache.flink.configuration.IllegalConfigurationException;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.fs.Path;

import java.net.URI;
import java.net.URISyntaxException;
import java.util.List;
import java.util.regex.Pattern;

/** Sealed paths ({@code sealed+s3://bucket/x}) and the paths inside them ({@code s3://bucket/x}). */
final class SealedPaths {
    static final String PREFIX = "sealed+";

    /** The file systems that have a sealed form; META-INF/services names a factory for each. */
    static final List<String> SCHEMES = List.of("file", "s3", "s3a", "hdfs", "abfs", "abfss", "gs", "oss");

    /** Rewrapped keys, written beside the data by `sealpoint rewrap`. */
    static final String SIDECAR = ".sealpoint-keys";

    /** What files begin with that are ours, and no business of Flink's: rewrapped keys, their lock, manifests, and whatever is on its way to one. */
    private static final String OWN = ".sealpoint-";

    private static final Pattern UUID = Pattern.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}");
    private static final Pattern MERGING_DIRECTORY = Pattern.compile("job_[0-9a-f]{32}_(tm|op)_.+");
    private static final String METADATA = "_metadata";

    private SealedPaths() {}

    static boolean isSealed(Path path) {
        String scheme = path.toUri().getScheme();
        return scheme != null && scheme.startsWith(PREFIX);
    }

    /** The sealed form of a path; a sealed path is its own. A path without a scheme is one of Flink's default file system. */
    static Path seal(Path path) {
        URI uri = path.toUri();
        if (uri.getScheme() == null) {
            URI base = FileSystem.getDefaultFsUri();
            uri = uri(base.getScheme(), base.getAuthority(), uri.getPath());
        }
        if (uri.getScheme().startsWith(PREFIX)) {
            return new Path(uri);
        }
        if (!SCHEMES.contains(uri.getScheme())) {
            throw new IllegalConfigurationException(
                    "Sealpoint cannot seal " + path + ": there is no sealed form of the scheme '" + uri.getScheme() + "' (there is one of "
                            + String.join(", ", SCHEMES) + ")");
        }
        return new Path(uri(PREFIX + uri.getScheme(), uri.getAuthority(), uri.getPath()));
    }

    /** The path inside a sealed one. A path without a scheme, as wildcards and relative names have, stays as it is. */
    static Path unseal(Path path) {
        URI uri = path.toUri();
        return isSealed(path) ? new Path(unseal(uri)) : path;
    }

    static URI unseal(URI uri) {
        return uri(uri.getScheme().substring(PREFIX.length()), uri.getAuthority(), uri.getPath());
    }

    static URI seal(URI uri) {
        return uri(PREFIX + uri.getScheme(), uri.getAuthority(), uri.getPath());
    }

    /**
     * The name to bind into a file, so that two files swapped in storage are found out; null for a file that may change its name.
     *
     * <p>Flink gives every state file (exclusive, shared, task-owned, merged, changelog) a random UUID for a name, and every checkpoint and
     * savepoint a {@code _metadata}; it never renames either, and whoever moves a savepoint moves its directory. It does rename others, the
     * job result store's entries for instance. The rule looks at the name alone, never at the directory, so that it gives the same
     * answer for the reader as for the writer wherever the directory has gone; the file system refuses a rename that would break it.
     */
    static String subject(Path path) {
        String name = path.getName();
        return name.equals(METADATA) || UUID.matcher(name).matches() ? name : null;
    }

    /** Whether this is a file of ours among Flink's. */
    static boolean isOwn(Path path) {
        return path.getName().startsWith(OWN);
    }

    /** Whether Flink merges small files into this one: it does so in a directory of each TaskManager and subtask, named after the job. */
    static boolean isMergedInto(Path path) {
        Path directory = path.getParent();
        return directory != null && MERGING_DIRECTORY.matcher(directory.getName()).matches();
    }

    private static URI uri(String scheme, String authority, String path) {
        try {
            return new URI(scheme, authority, path, null, null);
        } catch (URISyntaxException error) {
            throw new IllegalArgumentException(error.getMessage(), error);
        }
    }
}
