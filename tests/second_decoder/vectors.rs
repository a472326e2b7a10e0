//! The test vectors: what each file is, and what a reader must make of it. Nothing here is random, so that they can be
//! made again; see tests/vectors/README.md.

use super::encoder::{END, IRREGULAR, Plan, context, slot};
use super::{CBC_HMAC, GCM, decoder::Refusal, sidecar};

pub struct Vector {
    pub file: String,
    /// What is special, or wrong, about it.
    pub reason: String,
    pub data_key: [u8; 32],
    /// The name that the reader opens it under.
    pub opened_as: Option<String>,
    pub bytes: Vec<u8>,
    /// What a reader in order releases: all of it, or what comes before the refusal.
    pub released: Vec<u8>,
    pub refused: Option<Refusal>,
}

pub struct Sidecar {
    pub file: String,
    pub reason: String,
    pub bytes: Vec<u8>,
    pub ids: Ids,
}

/// The data-key ids of a sidecar, or the refusal.
type Ids = Result<Vec<[u8; 16]>, Refusal>;

const SUITES: [(u8, &str); 2] = [(GCM, "gcm"), (CBC_HMAC, "cbc-hmac")];

pub fn plaintext(len: usize) -> Vec<u8> {
    b"The quick brown fox jumps over the lazy dog. ".iter().copied().cycle().take(len).collect()
}

/// The file of docs/FORMAT.md, "Worked example".
pub fn worked_example() -> (Plan, Vec<u8>) {
    let plan = Plan::new(GCM, 14).field(5, "_metadata");
    let file = plan.file(&[b"checkpoint 42"]);
    (plan, file)
}

pub fn all() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for (suite, name) in SUITES {
        good(suite, name, &mut vectors);
        bad_heads(suite, name, &mut vectors);
        bad_bodies(suite, name, &mut vectors);
    }
    vectors.sort_by(|a, b| a.file.cmp(&b.file));
    vectors
}

fn good(suite: u8, name: &str, out: &mut Vec<Vector>) {
    let mut add = |what: &str, reason: &str, plan: &Plan, chunks: &[usize]| {
        let plain = plaintext(chunks.iter().sum());
        out.push(Vector {
            file: format!("good/{name}-{what}.sealed"),
            reason: reason.into(),
            data_key: plan.data_key,
            opened_as: None,
            bytes: plan.file(&cut(&plain, chunks)),
            released: plain,
            refused: None,
        });
    };
    let plan = Plan::new(suite, 12);
    add("empty", "no frame: a head and an end", &plan, &[]);
    add("one-byte", "one frame of one byte", &plan, &[1]);
    add("one-block", "one frame of one cipher block", &plan, &[16]);
    add("one-chunk", "one frame, full", &plan, &[4096]);
    add("several", "two full frames and a short one", &plan, &[4096, 4096, 100]);
    add("whole-chunks", "two full frames, no short one", &plan, &[4096, 4096]);
    add("irregular", "short frames in the middle", &plan, &[10, 4096, 1, 16, 7]);
    add("irregular-first", "a short frame, then a full one", &plan, &[1, 4096]);
    add("chunk-16k", "the default chunk size", &Plan::new(suite, 14), &[5000]);
    add("chunk-1m", "the largest chunk size", &Plan::new(suite, 20), &[5000]);
    let subject = plan.clone().field(5, "chk-42-metadata");
    add("subject", "a subject; readers that know the file's name compare it", &subject, &[20]);
    let pairs = context(&[("cluster", "blue"), ("empty", ""), ("größe", "groß")]);
    add("context", "an encryption context, not only ASCII", &plan.clone().field(6, pairs), &[20]);
    let tenant = "t".repeat(128);
    let full = plan.clone().field(4, tenant).field(5, "s".repeat(1024)).field(6, context(&[("k", "v")]));
    add("longest-fields", "tenant and subject as long as they may be", &full, &[20]);
    let slots = (0..8u8).map(|i| slot("aws", "arn:aws:kms:eu-central-1:1:key/k", "", &[i; 40])).collect();
    add("eight-slots", "eight slots, without a KEK version", &Plan { slots, ..plan.clone() }, &[20]);
}

fn bad_heads(suite: u8, name: &str, out: &mut Vec<Vector>) {
    let mut add = |what: &str, reason: &str, refused: Refusal, bytes: Vec<u8>| {
        out.push(Vector {
            file: format!("bad/{name}-{what}.sealed"),
            reason: reason.into(),
            data_key: Plan::new(suite, 12).data_key,
            opened_as: None,
            bytes,
            released: Vec::new(),
            refused: Some(refused),
        });
    };
    let good = Plan::new(suite, 12);
    let text: &[u8] = b"hello, hello";
    let file = |plan: &Plan| plan.file(&[text]);
    let fixed = |at: usize, value: u8| {
        let mut plan = good.clone();
        plan.fixed[at] = value;
        file(&plan)
    };
    let patched = |at: usize, value: &[u8]| {
        let mut bytes = file(&good);
        bytes[at..at + value.len()].copy_from_slice(value);
        bytes
    };
    use Refusal::{Integrity, Malformed, NotSealed, Truncated, UnsupportedVersion};

    add("magic", "the line feed of the magic became a carriage return", NotSealed, fixed(7, b'\r'));
    add("version-2", "version 2; all proofs hold for it", UnsupportedVersion, fixed(8, 2));
    add("version-0", "version 0; all proofs hold for it", UnsupportedVersion, fixed(8, 0));
    add("flags", "a flag is set; all proofs hold for it", Malformed, fixed(11, 1));
    add("suite-unknown", "suite 3 in the prelude", Malformed, patched(9, &[3]));
    add("suite-zero", "suite 0 in the prelude", Malformed, patched(9, &[0]));
    add("suite-other", "the other suite in the prelude: the commitment fails", Integrity, patched(9, &[3 - suite]));
    add("bound-len-over", "bound_len is 16385", Malformed, patched(12, &16_385u32.to_be_bytes()));
    add("bound-len-4g", "bound_len is 2^32 - 1", Malformed, patched(12, &[0xff; 4]));
    add("slots-len-over", "slots_len is 65537", Malformed, patched(16, &65_537u32.to_be_bytes()));
    add("slots-len-4g", "slots_len is 2^32 - 1", Malformed, patched(16, &[0xff; 4]));

    let with = |tag: u8, value: &[u8]| file(&good.clone().field(tag, value));
    let without = |tag: u8| {
        let mut plan = good.clone();
        plan.fields.retain(|(other, _)| *other != tag);
        file(&plan)
    };
    let reordered = {
        let mut plan = good.clone();
        plan.fields.swap(1, 3);
        file(&plan)
    };
    let doubled = {
        let mut plan = good.clone();
        let tenant = plan.fields[3].clone();
        plan.fields.push(tenant);
        file(&plan)
    };
    add("field-unknown", "a field with tag 7; all proofs hold for it", Malformed, with(7, b"?"));
    add("field-tag-zero", "a field with tag 0 at the end; all proofs hold for it", Malformed, with(0, b"?"));
    add("fields-descending", "the tenant before the creation time; all proofs hold", Malformed, reordered);
    add("field-twice", "the tenant twice; all proofs hold", Malformed, doubled);
    add("no-data-key-id", "field 01 is missing; all proofs hold", Malformed, without(1));
    add("no-created-at", "field 02 is missing; all proofs hold", Malformed, without(2));
    add("no-chunk-size", "field 03 is missing; all proofs hold", Malformed, without(3));
    add("no-tenant", "field 04 is missing; all proofs hold", Malformed, without(4));
    add("data-key-id-15", "field 01 has 15 bytes; all proofs hold", Malformed, with(1, &good.id[..15]));
    add("created-at-9", "field 02 has 9 bytes; all proofs hold", Malformed, with(2, &[0; 9]));
    add("chunk-2k", "chunks of 2^11 bytes; all proofs hold", Malformed, with(3, &[11]));
    add("chunk-2m", "chunks of 2^21 bytes; all proofs hold", Malformed, with(3, &[21]));
    add("tenant-empty", "an empty tenant; all proofs hold", Malformed, with(4, b""));
    add("tenant-129", "a tenant of 129 bytes; all proofs hold", Malformed, with(4, &[b't'; 129]));
    add("tenant-not-utf8", "a tenant that is not UTF-8; all proofs hold", Malformed, with(4, &[0xc3, 0x28]));
    add("subject-empty", "an empty subject; all proofs hold", Malformed, with(5, b""));
    add("subject-1025", "a subject of 1025 bytes; all proofs hold", Malformed, with(5, &[b's'; 1025]));
    let pairs = |pairs: &[(&str, &str)]| with(6, &context(pairs));
    add("context-empty", "field 06 without pairs; all proofs hold", Malformed, pairs(&[]));
    add("context-descending", "keys in descending order; all proofs hold", Malformed, pairs(&[("b", "1"), ("a", "2")]));
    add("context-twice", "one key twice; all proofs hold", Malformed, pairs(&[("a", "1"), ("a", "2")]));
    add("context-no-key", "an empty key; all proofs hold", Malformed, pairs(&[("", "1")]));
    add("context-8193", "8193 bytes of context; all proofs hold", Malformed, pairs(&[("k", &"v".repeat(8186))]));
    add("context-trailing", "a byte after the last pair; all proofs hold", Malformed, {
        with(6, &[context(&[("a", "1")]), vec![0]].concat())
    });

    let slots = |slot_count: Option<u8>, slots: Vec<Vec<u8>>| file(&Plan { slot_count, slots, ..good.clone() });
    let one = slot("local", "sealpoint", "1", b"a wrapped data key");
    add("slots-none", "no slot; its mac holds", Malformed, slots(None, vec![]));
    add("slots-nine", "nine slots; their mac holds", Malformed, slots(None, vec![one.clone(); 9]));
    add(
        "slots-count-low",
        "a count of 1 before two slots; its mac holds",
        Malformed,
        slots(Some(1), vec![one.clone(); 2]),
    );
    add("slots-count-high", "a count of 2 before one slot; its mac holds", Malformed, slots(Some(2), vec![one]));
    let no_provider = slots(None, vec![slot("", "sealpoint", "1", b"w")]);
    add("slot-no-provider", "a slot without a provider; its mac holds", Malformed, no_provider);
    add(
        "slot-no-kek",
        "a slot without a KEK; its mac holds",
        Malformed,
        slots(None, vec![slot("local", "", "1", b"w")]),
    );
    let no_key = slots(None, vec![slot("local", "sealpoint", "1", b"")]);
    add("slot-no-wrapped-key", "a slot without a wrapped key; its mac holds", Malformed, no_key);
    let long_key = slots(None, vec![slot("local", "sealpoint", "1", &[7; 8193])]);
    add("slot-wrapped-key-8193", "a wrapped key of 8193 bytes; its mac holds", Malformed, long_key);
    let head = good.head().len();
    let mut bytes = file(&good);
    bytes[head - 57] ^= 1;
    add("slots-mac", "the last bit of the slots' mac flipped", Integrity, bytes);
    let mut bytes = file(&good);
    bytes[head - 56] ^= 0x80;
    add("salt", "the first bit of the salt flipped", Integrity, bytes);
    let mut bytes = file(&good);
    bytes[head - 1] ^= 1;
    add("commitment", "the last bit of the commitment flipped", Integrity, bytes);

    let bytes = file(&good);
    for (what, length) in
        [("nothing", 0), ("in-magic", 5), ("in-prelude", 15), ("in-bound", 40), ("in-salt", head - 40)]
    {
        add(&format!("cut-{what}"), "the file is cut there", Truncated, bytes[..length].to_vec());
    }
    out.push(Vector {
        file: format!("bad/{name}-data-key.sealed"),
        reason: "the data key given is another".into(),
        data_key: *b"another data key of 32 bytes ...",
        opened_as: None,
        bytes,
        released: Vec::new(),
        refused: Some(Integrity),
    });
    out.push(Vector {
        file: format!("bad/{name}-subject.sealed"),
        reason: "sealed as 'a', opened as 'b'".into(),
        data_key: good.data_key,
        opened_as: Some("b".into()),
        bytes: file(&good.clone().field(5, "a")),
        released: Vec::new(),
        refused: Some(Integrity),
    });
}

fn bad_bodies(suite: u8, name: &str, out: &mut Vec<Vector>) {
    let plan = Plan::new(suite, 12);
    let plain = plaintext(60);
    let chunks = cut(&plain, &[20, 30, 10]);
    let (frames, count, length) = plan.frames(&chunks);
    let [a, b, c] = [&frames[0], &frames[1], &frames[2]];
    let (head, end) = (plan.head(), plan.end(END | IRREGULAR, length, count));
    let mut add = |what: &str, reason: &str, refused: Refusal, released: usize, body: &[&[u8]]| {
        out.push(Vector {
            file: format!("bad/{name}-{what}.sealed"),
            reason: reason.into(),
            data_key: plan.data_key,
            opened_as: None,
            bytes: [&head, &body.concat()[..]].concat(),
            released: plaintext(released),
            refused: Some(refused),
        });
    };
    use Refusal::{Integrity, Truncated};
    let flip = |frame: &[u8], at: usize| {
        let mut bad = frame.to_vec();
        bad[at] ^= 1;
        bad
    };
    let (front, tag) = if suite == GCM { (4, 16) } else { (20, 32) };

    add(
        "frame-ciphertext",
        "a bit of the second frame's ciphertext flipped",
        Integrity,
        20,
        &[a, &flip(b, front), c, &end],
    );
    add("frame-tag", "a bit of the second frame's tag flipped", Integrity, 20, &[a, &flip(b, b.len() - 1), c, &end]);
    add("frame-prefix", "a bit of the second frame's length flipped", Integrity, 20, &[a, &flip(b, 3), c, &end]);
    add("frames-swapped", "the first two frames swapped", Integrity, 0, &[b, a, c, &end]);
    add("frame-twice", "the second frame twice", Integrity, 50, &[a, b, b, c, &end]);
    add("frame-left-out", "the second frame left out", Integrity, 20, &[a, c, &end]);
    add("last-frame-left-out", "the last frame left out", Integrity, 50, &[a, b, &end]);
    let other = Plan { salt: *b"the salt of another file", ..plan.clone() };
    let (others, ..) = other.frames(&chunks);
    let other_end = other.end(END | IRREGULAR, length, count);
    add(
        "frame-of-another-file",
        "the second frame of another file under the data key",
        Integrity,
        20,
        &[a, &others[1], c, &end],
    );
    add("end-of-another-file", "the end of another file under the data key", Integrity, 60, &[a, b, c, &other_end]);
    let empty = plan.frame(0, 1, 20, b"");
    add(
        "frame-empty",
        "a frame of no bytes; its tag holds",
        Integrity,
        20,
        &[a, &empty, &plan.end(END | IRREGULAR, 20, 2)],
    );
    let long = plaintext(4097);
    let too_long = plan.frame(4097, 0, 0, &long);
    add(
        "frame-too-long",
        "a frame of 4097 bytes in chunks of 4096; its tag holds",
        Integrity,
        0,
        &[&too_long, &plan.end(END, 4097, 1)],
    );
    let index = plan.frame(30, 2, 20, chunks[1]);
    add("frame-index", "the second frame sealed with index 2", Integrity, 20, &[a, &index, c, &end]);
    let offset = plan.frame(30, 1, 21, chunks[1]);
    add("frame-offset", "the second frame sealed at offset 21", Integrity, 20, &[a, &offset, c, &end]);
    add("prefix-4g", "a prefix of 2^31 - 1 bytes", Integrity, 20, &[a, &[0x7f, 0xff, 0xff, 0xff], b, c, &end]);

    add(
        "end-regular",
        "an irregular file's end without bit 30; its tag holds",
        Integrity,
        60,
        &[a, b, c, &plan.end(END, length, count)],
    );
    let one = plan.end(END | IRREGULAR, 20, 1);
    add("end-irregular", "a regular file's end with bit 30; its tag holds", Integrity, 20, &[a, &one]);
    let flags = plan.end(END | IRREGULAR | 1, length, count);
    add("end-flags", "bit 0 of the end's prefix set; its tag holds", Integrity, 60, &[a, b, c, &flags]);
    let longer = plan.end(END | IRREGULAR, length + 1, count);
    add("end-length", "the end says one byte more; its tag holds", Integrity, 60, &[a, b, c, &longer]);
    let more = plan.end(END | IRREGULAR, length, count + 1);
    add("end-count", "the end says one frame more; its tag holds", Integrity, 60, &[a, b, c, &more]);
    add("end-tag", "a bit of the end's tag flipped", Integrity, 60, &[a, b, c, &flip(&end, end.len() - tag)]);
    add("end-twice", "the end twice", Integrity, 60, &[a, b, c, &end, &end]);
    add("trailing-byte", "a byte after the end", Integrity, 60, &[a, b, c, &end, &[0]]);

    add("cut-in-prefix", "the file is cut in the second frame's prefix", Truncated, 20, &[a, &b[..2]]);
    add("cut-in-frame", "the file is cut in the second frame", Truncated, 20, &[a, &b[..b.len() - 1]]);
    add("cut-after-head", "the file is cut right after its head", Truncated, 0, &[]);
    add("cut-in-end", "the file is cut in its end", Truncated, 60, &[a, b, c, &end[..end.len() - 1]]);
    add("not-closed", "the file was never closed: three whole frames, no end", Truncated, 60, &[a, b, c]);
    if suite == CBC_HMAC {
        let mut padded = plaintext(30);
        padded.extend_from_slice(&[1, 2]);
        let frame = plan.frame_padded(30, 1, 20, chunks[1], &padded);
        add("padding", "padding 01 02 for 02 02; the tag holds", Integrity, 20, &[a, &frame, c, &end]);
        let padded = [&plaintext(20)[..], &[0; 12]].concat();
        let frame = plan.frame_padded(20, 0, 0, chunks[0], &padded);
        add("padding-zero", "padding of zeros; the tag holds", Integrity, 0, &[&frame, b, c, &end]);
    }
}

pub fn sidecars() -> Vec<Sidecar> {
    let section = Plan::new(GCM, 12).slots_section();
    let (low, high) = ([1; 16], [2; 16]);
    let good = sidecar::write(2, &[(&low, &section), (&high, &section)]);
    let patched = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    let bad = Err(Refusal::Malformed);
    let list: [(&str, &str, Vec<u8>, Ids); 12] = [
        ("good/two", "two data keys", good.clone(), Ok(vec![low, high])),
        ("good/none", "no data key", sidecar::write(0, &[]), Ok(vec![])),
        ("bad/magic", "the line feed of the magic became a carriage return", patched(7, b'\r'), bad.clone()),
        ("bad/version-2", "version 2", patched(8, 2), Err(Refusal::UnsupportedVersion)),
        ("bad/reserved", "a reserved byte is not zero", patched(11, 1), bad.clone()),
        ("bad/count-high", "a count of 3 before two entries", patched(15, 3), bad.clone()),
        ("bad/count-low", "a count of 1 before two entries", patched(15, 1), bad.clone()),
        (
            "bad/descending",
            "ids in descending order",
            { sidecar::write(2, &[(&high, &section), (&low, &section)]) },
            bad.clone(),
        ),
        ("bad/twice", "one id twice", sidecar::write(2, &[(&low, &section), (&low, &section)]), bad.clone()),
        ("bad/slots-len-4g", "slots_len of 2^32 - 1", [&good[..32], &[0xff; 4], &good[36..]].concat(), bad.clone()),
        ("bad/cut", "the last byte is missing", good[..good.len() - 1].to_vec(), bad.clone()),
        ("bad/trailing-byte", "a byte after the last entry", [&good[..], &[0]].concat(), bad.clone()),
    ];
    list.map(|(file, reason, bytes, ids)| Sidecar {
        file: format!("{file}.sealkey"),
        reason: reason.into(),
        bytes,
        ids,
    })
    .into()
}

fn cut<'a>(plain: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = plain;
    lengths.iter().map(|len| rest.split_off(..*len).unwrap()).collect()
}
