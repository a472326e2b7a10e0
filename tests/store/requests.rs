//! What a command asks of a store, counted.

use std::collections::BTreeMap;

use crate::proxy::Tls;
use crate::refused::Run;
use crate::rewrap::fixture::Site;
use crate::rewrap::site;
use crate::servers::Fixture;

/// Of a file only the head is read: by one request, and by two where the head is longer than what is read at first.
pub fn one_read_of_each_head(fixture: &Fixture) {
    let site = site(fixture);
    let context = |part| format!("encryption-context.part-{part} = '{}'\n", "x".repeat(1_000));
    let long: String = (1..=4).map(context).collect();
    for (job, context, reads) in [("short", "", 1), ("long", long.as_str(), 2)] {
        site.configure(context);
        site.job(job, 2);
        site.seal(&[&format!("{job}/chk-2/more")]);
        site.rotate("sealpoint");
        let place = format!("store/{job}");
        let all = site.files();
        let files: Vec<String> = all.iter().filter_map(|path| below_store(path.to_str().unwrap())).collect();
        let files: Vec<&String> = files.iter().filter(|file| file.starts_with(&place)).collect();
        assert_eq!(files.len(), 15, "{files:?}");

        // Nothing but heads, the sidecar that each of three directories may have, and one page of a listing.
        let asked = asked(fixture, &site, context, &["rewrap", "--dry-run", &place]);
        for &file in &files {
            assert_eq!(asked.get(file), Some(&reads), "{file}: {asked:?}");
        }
        let beside = asked.iter().filter(|(name, _)| name.ends_with(".sealpoint-keys"));
        assert_eq!(beside.map(|(_, count)| *count).collect::<Vec<_>>(), [1, 1, 1], "{asked:?}");
        assert_eq!(asked.values().sum::<u64>(), 15 * reads + 3 + 1, "{asked:?}");

        // The metadata of the savepoint would be read to their end besides.
        let places = ["chk-1", "chk-2", "shared"].map(|name| format!("{place}/{name}"));
        let asked = self::asked(fixture, &site, context, &["report", &places[0], &places[1], &places[2]]);
        for &file in files.iter().filter(|file| !file.contains("/savepoint-1/")) {
            assert_eq!(asked.get(file), Some(&reads), "{file}: {asked:?}");
        }
    }
}

/// How often each object was read, by its name from `store` on; listings by whatever they are asked of.
fn asked(fixture: &Fixture, site: &Site, context: &str, arguments: &[&str]) -> BTreeMap<String, u64> {
    let (route, options) = fixture.through(Tls::Good);
    site.configure(&format!("{context}store.ca-file = '{}'\n", options.ca_file.unwrap().display()));
    let behind = [(fixture.service.address_names[0], options.endpoint.unwrap())];
    Run::start(site, &behind, arguments).ended(0, &[]);
    let mut asked = BTreeMap::new();
    for (request, count) in route.counts() {
        if let Some(path) = request.strip_prefix("GET ") {
            *asked.entry(below_store(path).unwrap_or_else(|| path.to_owned())).or_default() += count;
        }
    }
    asked
}

fn below_store(path: &str) -> Option<String> {
    path.find("/store/").map(|at| path[at + 1..].to_owned())
}
