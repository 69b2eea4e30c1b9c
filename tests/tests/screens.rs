//! What the screens of every situation say, besides how they are drawn (`tests/ui`).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use lotgate_station::screen::ScreenLanguage;
use lotgate_tests::scenes;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Every scene by its name, as the ui gets it.
static SCREENS: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| seen(ScreenLanguage::En));
/// The same in German.
static GERMAN: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| seen(ScreenLanguage::De));

fn seen(language: ScreenLanguage) -> BTreeMap<String, Value> {
    let seen = scenes::all().into_iter().map(|scene| scene.seen(language));
    seen.map(|seen| (seen.name, serde_json::to_value(&seen.screen).unwrap())).collect()
}

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

#[test]
fn a_station_that_cannot_use_its_own_queue_tells_nobody_to_go_on() {
    let screen = screen("scan-own-queue-fault");
    for (part, key) in [
        ("/offline/safe/key", "offline_waiting"),
        ("/offline/works/key", "offline_works_not"),
        ("/offline/todo/key", "offline_todo_stop"),
        ("/band/sentence/key", "own_queue_fault"),
    ] {
        assert_eq!(said(screen, part), key);
    }
    let actions = screen.pointer("/actions").and_then(Value::as_array).unwrap();
    assert_eq!(said(actions.last().unwrap(), "/label/key"), "act_wait_for_it");
    assert_eq!(said(self::screen("scan-trouble"), "/offline/todo/key"), "offline_todo_it", "it can record");
}

#[test]
fn the_band_names_no_button_that_is_not_there() {
    let offers_again = |screen: &Value| {
        let actions = screen.pointer("/actions").and_then(Value::as_array).unwrap();
        actions.iter().any(|action| action.pointer("/request/request") == Some(&Value::from("print_again")))
    };
    for (name, screen) in SCREENS.iter() {
        let sentence = said(screen, "/band/sentence/key");
        if ["band_label_again", "band_label_destroy", "job_not_printed_nothing"].contains(&sentence) {
            assert!(offers_again(screen), "{name} says to print again");
        }
    }
    for name in ["label-not-printed-copied", "label-damaged-copied"] {
        assert_eq!(said(screen(name), "/band/title/key"), "band_label_copied", "{name}");
    }
}

#[test]
fn a_scanner_that_is_too_fast_is_not_said_to_have_lost_a_scan() {
    assert_eq!(said(screen("scan-too-fast"), "/band/title/key"), "band_device_waits");
    assert_eq!(said(screen("scan-interrupted"), "/band/title/key"), "band_device_fault");
}

#[test]
fn everything_else_is_said_to_work_only_where_it_does() {
    let besides = |name: &str| said(screen(name), "/band/echo/detail/key");
    assert_eq!(besides("scan-interrupted"), "band_others_work");
    assert_eq!(besides("scan-interrupted-no-printer"), "band_more_fails");
}

#[test]
fn what_read_a_code_and_what_kind_of_code_it_was_are_said_in_the_language_of_the_screen() {
    for (screens, tray, add_on) in
        [(&SCREENS, "Demonstration", "EAN add-on"), (&GERMAN, "Vorführung", "EAN-Zusatzcode")]
    {
        let detail = |name: &str, value| said(&screens[name], &format!("/band/echo/detail/values/{value}"));
        assert_eq!(detail("scan-demonstration-touched", "device"), tray);
        assert_eq!(detail("scan-unknown-add-on", "symbology"), add_on);
    }
}

#[test]
fn the_date_of_a_lot_that_is_not_known_is_not_known_either() {
    for (name, key) in [("scan-unknown", "check_unknown"), ("scan-expiry-differs", "plain")] {
        let check = screen(name).pointer("/main/result/checks/3").unwrap();
        assert_eq!((said(check, "/check/key"), said(check, "/expected/key")), ("check_label", key), "{name}");
    }
}

#[test]
fn the_scene_of_two_dates_that_differ_shows_two_dates() {
    let check = screen("scan-expiry-differs").pointer("/main/result/checks/3").unwrap();
    assert_ne!(check.pointer("/expected"), check.pointer("/found"));
}

#[test]
fn a_scan_that_was_cut_off_is_said_while_the_machine_waits_to_be_enrolled() {
    let screen = screen("enrol-interrupted");
    assert_eq!(said(screen, "/band/title/key"), "band_device_fault");
    assert_eq!(said(screen, "/band/sentence/key"), "scan_interrupted");
}

#[test]
fn only_a_fault_that_may_end_by_itself_is_said_to_be_tried_again() {
    let follows = |name: &str| said(screen(name), "/band/echo/detail/key");
    assert_eq!(follows("words-fault-station-retired"), "band_retired");
    assert_eq!(follows("words-fault-config-missing-key"), "band_until_corrected");
    assert_eq!(follows("fault"), "band_call_it");
}

#[test]
fn the_room_on_the_disk_is_counted_in_the_unit_that_is_written() {
    let rows = screen("devices").pointer("/main/rows").and_then(Value::as_array).unwrap();
    let disk = rows.iter().find(|row| said(row, "/name/key") == "dev_disk").unwrap();
    assert_eq!(said(disk, "/detail/values/n"), "41000", "of 41 000 000 000 bytes");
}

#[test]
fn every_kind_of_trouble_has_a_scene_that_says_it() {
    let says = |pointer: &str, key: &str| {
        SCREENS.values().any(|screen| screen.pointer(pointer) == Some(&Value::from(key)))
    };
    assert!(says("/main/network/key", "log_rewritten") && says("/main/network/key", "queue_damaged"));
    assert!(says("/band/title/key", "band_no_label"));
    assert!(says("/band/sentence/key", "job_unknown_record_incomplete"));
}
