//! A second implementation, which shares no code with the library, opens all that the library seals, and the other way
//! round.

mod cases;
mod sealed_files;
mod second_decoder;

use proptest::prelude::*;
use sealpoint::context::EncryptionContext;
use sealpoint::envelope::{Sealer, Slot, encode_slots};

use sealed_files::{
    ALGORITHMS, DATA_KEY, data_key, data_key_id, open_whole, options, plaintext, seal_parts, seal_whole,
};
use second_decoder::decoder::{self, Refusal};
use second_decoder::encoder::Plan;
use second_decoder::{CBC_HMAC, GCM};

proptest! {
    #![proptest_config(cases::cases(200))]

    #[test]
    fn the_second_decoder_opens_all_that_is_sealed(
        cbc in any::<bool>(),
        parts in prop::collection::vec(prop_oneof![0..50usize, 0..9000usize, Just(4096), Just(8192)], 0..5),
        tenant in "[a-zà-ü]{1,20}",
        subject in prop::option::of("\\PC{1,40}"),
        pairs in prop::collection::btree_map("[a-z:]{1,8}", "\\PC{0,12}", 0..4),
        slot_count in 1..=8usize,
    ) {
        let mut options = options(ALGORITHMS[usize::from(cbc)], 4096);
        options.tenant = tenant.clone().into();
        options.subject.clone_from(&subject);
        options.context = EncryptionContext::new(pairs.clone()).unwrap();
        let slot = |n| Slot { provider: "p".repeat(n), kek: "k".into(), version: String::new(), wrapped: vec![7; n * 9] };
        let slots: Vec<Slot> = (1..=slot_count).map(slot).collect();
        let slots = encode_slots(&slots, data_key_id(), &data_key()).unwrap();
        let mut sealer = Sealer::new(&data_key(), data_key_id(), &slots, &options).unwrap();
        let plain = plaintext(parts.iter().sum());
        let mut rest = &plain[..];
        let parts: Vec<&[u8]> = parts.iter().map(|len| rest.split_off(..*len).unwrap()).collect();
        let mut file = seal_parts(&mut sealer, &parts);

        let open = decoder::open(&file, &DATA_KEY, subject.as_deref());
        prop_assert_eq!((open.result.unwrap_err(), &open.released), (Refusal::Truncated, &plain), "before its end");

        let start = file.len();
        file.resize(start + sealer.layout().end_len, 0);
        sealer.finish(&mut file[start..]).unwrap();
        let open = decoder::open(&file, &DATA_KEY, subject.as_deref());
        let facts = open.result.unwrap();
        prop_assert!(open.released == plain);
        prop_assert_eq!((facts.tenant, facts.subject), (tenant, subject));
        prop_assert_eq!(facts.context, pairs.into_iter().collect::<Vec<_>>());
        prop_assert_eq!((facts.id, facts.chunk, facts.created_at), (data_key_id().as_bytes().to_vec(), 4096, options.created_at_ms));
    }

    #[test]
    fn the_library_opens_what_the_second_encoder_seals(
        cbc in any::<bool>(),
        chunks in prop::collection::vec(prop_oneof![1..50usize, Just(4096), 1..4097usize], 0..6),
    ) {
        let plan = Plan::new(if cbc { CBC_HMAC } else { GCM }, 12);
        let plain = plaintext(chunks.iter().sum());
        let mut rest = &plain[..];
        let chunks: Vec<&[u8]> = chunks.iter().map(|len| rest.split_off(..*len).unwrap()).collect();
        let file = plan.file(&chunks);
        prop_assert!(open_whole(&file, &sealed_files::secret(plan.data_key)).unwrap() == plain);
    }
}

#[test]
fn every_chunk_size_opens_in_the_second_decoder() {
    for algorithm in ALGORITHMS {
        for log2 in 12..=20 {
            let plain = plaintext((1 << log2) + 3);
            let open = decoder::open(&seal_whole(algorithm, 1 << log2, &[&plain]), &DATA_KEY, None);
            assert_eq!(open.result.unwrap().chunk, 1 << log2);
            assert!(open.released == plain);
        }
    }
}

#[test]
fn files_of_the_same_content_under_one_data_key_share_no_ciphertext() {
    let plain = plaintext(4096);
    for algorithm in ALGORITHMS {
        let [first, second] = [(); 2].map(|()| seal_whole(algorithm, 4096, &[&plain]));
        let body = sealed_files::head(&first).unwrap().len();
        let same = first[body..].iter().zip(&second[body..]).filter(|(a, b)| a == b).count();
        assert!(
            same < 200,
            "{same} bytes of 4 KiB agree; by chance about 16 do, beside 24 of the prefixes and lengths"
        );
    }
}
