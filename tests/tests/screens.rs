//! What the screens of every situation say, besides how they are drawn (`tests/ui`).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use lotgate_station::screen::ScreenLanguage;
use lotgate_tests::scenes;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Every scene by its name, as the ui gets it.
static SCREENS: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
    let seen = scenes::all().into_iter().map(|scene| scene.seen(ScreenLanguage::En));
    seen.map(|seen| (seen.name, serde_json::to_value(&seen.screen).unwrap())).collect()
});

fn screen(name: &str) -> &'static Value {
    SCREENS.get(name).unwrap_or_else(|| panic!("no scene {name}"))
}

fn said<'a>(screen: &'a Value, pointer: &str) -> &'a str {
    screen.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer} in {screen:#}"))
}

/// What the second step of the print job, that of the bytes, says.
fn sent(name: &str) -> (String, String) {
    let screen = screen(name);
    (said(screen, "/main/steps/1/sentence/key").to_owned(), said(screen, "/main/steps/1/state").to_owned())
}

#[test]
fn only_what_was_handed_over_whole_is_called_sent() {
    let open = |key: &str| (key.to_owned(), "open".to_owned());
    assert_eq!(sent("label-nothing-left"), open("job_sent_open"));
    assert_eq!(sent("label-answered-partly"), open("job_sent_part"));
    assert_eq!(sent("label-answered-lost"), open("job_sent_unknown"));
    assert_eq!(sent("label-sending"), ("job_sent_now".to_owned(), "now".to_owned()));
    for whole in ["label-sent", "label-confirmed", "label-answered-printed", "label-answered-damaged"] {
        assert_eq!(sent(whole), ("job_sent_is".to_owned(), "done".to_owned()), "{whole}");
    }
}

#[test]
fn a_printer_that_prints_is_no_fault_and_a_label_that_left_is_not_said_to_be_kept_here() {
    let band = |name: &str| {
        let screen = screen(name);
        (said(screen, "/band/state").to_owned(), said(screen, "/band/title/key").to_owned())
    };
    assert_eq!(band("label-busy"), ("asks".to_owned(), "band_label_prints".to_owned()));
    for left in ["label-silent", "label-hot", "label-no-printer-any-more"] {
        assert_eq!(band(left), ("fault".to_owned(), "band_printer_look".to_owned()), "{left}");
    }
    assert_eq!(said(screen("label-no-printer-any-more"), "/band/sentence/key"), "band_sent_not_zpl");
    assert_eq!(band("label-unreachable"), ("fault".to_owned(), "band_printer_fails".to_owned()));
}

#[test]
fn the_question_has_an_answer_for_a_damaged_label_and_a_printed_label_can_be_doubted() {
    let asked = screen("label-unknown-partly");
    let answers = asked.pointer("/main/answers").and_then(Value::as_array).unwrap();
    let came: Vec<&str> = answers.iter().map(|answer| said(answer, "/request/came")).collect();
    assert_eq!(came, ["one", "nothing", "damaged"]);
    let requests = |name: &str| {
        let screen = screen(name);
        let actions = screen.pointer("/actions").and_then(Value::as_array).unwrap().clone();
        let request = |action: &Value| Some(action.pointer("/request/request")?.as_str()?.to_owned());
        actions.iter().filter_map(request).collect::<Vec<_>>()
    };
    for printed in ["label-confirmed", "label-answered-printed"] {
        assert!(requests(printed).contains(&"doubt_label".to_owned()), "{printed}");
    }
    assert!(!requests("label-read").contains(&"doubt_label".to_owned()), "its paper was read");
    assert!(requests("label-answered-damaged").contains(&"print_again".to_owned()));
}

#[test]
fn an_alarm_has_its_word_on_every_page_of_a_station_at_work() {
    for (name, word, more) in [
        ("scan-alarm", "alarm_disk_low", 0),
        ("label-confirmed-alarm", "alarm_set_aside", 1),
        ("scan-accepted-alarms", "alarm_queue_full", 8),
    ] {
        let screen = screen(name);
        assert_eq!(said(screen, "/alarm/word/key"), word, "{name}");
        assert_eq!(screen.pointer("/alarm/more"), Some(&Value::from(more)), "{name}");
    }
    assert_eq!(screen("scan").pointer("/alarm/word"), Some(&Value::Null));
    // The word stands on the way to the devices, which every page but theirs must offer.
    for (name, screen) in SCREENS.iter() {
        let kind = said(screen, "/main/kind");
        if matches!(kind, "scan" | "label") {
            let offered = screen.pointer("/actions").and_then(Value::as_array).unwrap().iter();
            let leads =
                |action: &Value| action.pointer("/request/request") == Some(&Value::from("show_devices"));
            assert!(offered.clone().any(leads), "{name} has no place for an alarm");
        }
    }
}

#[test]
fn what_is_not_known_to_be_stored_is_not_said_to_be_lost() {
    let screen = screen("scan-maybe-kept");
    assert_eq!(said(screen, "/band/title/key"), "band_outcome_unknown");
    assert_eq!(said(screen, "/band/echo/detail/key"), "band_maybe_stored");
}

#[test]
fn a_time_of_another_day_says_its_day() {
    let screen = screen("devices-days-ago");
    for row in screen.pointer("/main/rows").and_then(Value::as_array).unwrap() {
        if let Some(heard) = row.pointer("/heard/values/time").and_then(Value::as_str) {
            assert!(heard.ends_with(", 2026-11-20"), "{heard}");
        }
    }
    assert!(said(screen, "/main/network/key").starts_with("net_"));
    assert_eq!(said(self::screen("devices"), "/main/rows/0/heard/values/time"), "14:07");
}

#[test]
fn the_checks_name_the_lot_list_that_was_decided_on_not_the_one_that_came_since() {
    let screen = screen("words-scan-no-reference-data");
    let data = screen.pointer("/main/result/checks/1").unwrap();
    assert_eq!((said(data, "/check/key"), said(data, "/found/key")), ("check_data", "check_data_none"));
}

#[test]
fn the_screen_says_how_many_labels_wait_behind_the_one_it_shows() {
    for name in ["label-sent-behind", "label-unknown-behind"] {
        assert_eq!(said(screen(name), "/main/behind/values/n"), "2", "{name}");
    }
    assert_eq!(screen("label-sent").pointer("/main/behind"), Some(&Value::Null));
}
