//! At a terminal, the name is asked for and typed.

use crate::fixture::Fixture;
use crate::terminal::Terminal;

/// What is typed when this is asked for; how the command ends, and what it shows.
fn answered(fixture: &Fixture, arguments: &[&str], question: &str, typed: &str) -> (Option<i32>, String) {
    let mut terminal = Terminal::of(&fixture.command(arguments), None);
    terminal.shows(question);
    terminal.types(typed);
    terminal.ends()
}

/// The end of the input, as Ctrl-D on an empty line gives it.
const END: &str = "\u{4}";

#[test]
fn a_version_is_retired_by_force_once_its_name_was_typed() {
    let fixture = Fixture::new(&["common"]);
    fixture.seal(&fixture.engine(), "common/f", b"state");
    fixture.rotate("common");
    let (name, place) = ("key-of-common@1", fixture.place(""));
    let answer = |typed| {
        let question = "Type key-of-common@1 to go on:";
        answered(&fixture, &["retire", "--force", name, &place], question, typed)
    };
    for typed in ["key-of-common@2\n", "key-of-common\n", "y\n", "\n", END] {
        let (code, shown) = answer(typed);
        assert!(code == Some(2) && shown.contains("nothing was done"), "{typed:?}: {code:?} {shown}");
        assert!(fixture.is_enabled("common", 1), "{typed:?}");
    }
    let (code, shown) = answer("key-of-common@1\n");
    assert!(code == Some(0) && shown.contains("is needed by 1 files") && shown.contains("is disabled"), "{shown}");
    assert!(!fixture.is_enabled("common", 1));
}

#[test]
fn a_tenant_is_shredded_once_its_name_was_typed() {
    let fixture = Fixture::new(&["common", "a"]);
    fixture.seal(&fixture.engine(), "a/f", b"state");
    let place = fixture.place("");
    let answer = |typed| answered(&fixture, &["shred", "--tenant", "a", &place], "Type a to go on:", typed);
    for typed in ["common\n", "A\n", "yes\n", "\n", END] {
        let (code, shown) = answer(typed);
        assert!(code == Some(2) && shown.contains("nothing was done"), "{typed:?}: {code:?} {shown}");
        assert!(fixture.has_key("a"), "{typed:?}");
    }
    fixture.run(&["open", "--verify", &fixture.place("a/f")]).ended(0, &["verified"]);
    let (code, shown) = answer("a\n");
    assert!(code == Some(0) && shown.contains("becomes unreadable") && shown.contains("is destroyed"), "{shown}");
    assert!(!fixture.has_key("a") && fixture.has_key("common"));
}
