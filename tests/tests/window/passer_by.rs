//! The window has no way out (SES-4): not by mouse, keyboard, script, window manager, or the end of its page.

use crate::hands::{Hands, key};
use crate::{open, says};
use anyhow::{Result, ensure};
use lotgate_tests::display::{Display, Size};
use lotgate_tests::plant::{Plant, lot_scan};
use lotgate_tests::programs::{PATIENCE, Process, program, wait_for};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// What leads somewhere else in a browser or on a desktop.
fn keys() -> Vec<Vec<u32>> {
    let letter = |letter: char| u32::from(letter);
    let mut all: Vec<Vec<u32>> = (0..12).map(|n| vec![key::F1 + n]).collect();
    all.extend("acfghijklnopqrstuvwxz+-0".chars().map(|with| vec![key::CONTROL, letter(with)]));
    all.extend("cijkn".chars().map(|with| vec![key::CONTROL, key::SHIFT, letter(with)]));
    all.extend([
        vec![key::ALT, key::LEFT],
        vec![key::ALT, key::F1 + 3],
        vec![key::ESCAPE],
        vec![key::TAB, key::ENTER],
        vec![key::SHIFT, key::F1 + 9],
        vec![key::MENU],
    ]);
    all
}

/// What a page could try, each answered with whether it came to anything.
const TRIES: &str = "
    const done = arguments[0], came = [];
    const tries = {
        window: () => { if (window.open('https://example.invalid/')) throw 0; },
        frame: () => new Promise((yes, no) => {
            const frame = document.createElement('iframe');
            frame.src = 'https://example.invalid/';
            frame.onload = () => (frame.contentDocument === null ? no() : yes());
            document.body.append(frame);
            requestAnimationFrame(() => requestAnimationFrame(() => { frame.remove(); yes(); }));
        }),
        fetch: () => fetch('https://example.invalid/').then(() => { throw 0; }, () => null),
        eval: () => { try { (0, eval)('1'); } catch { return; } throw 0; },
        inline: () => { const script = document.createElement('script'); script.text = 'window.ran = 1';
                        document.body.append(script); script.remove(); if (window.ran) throw 0; },
        plugin: () => window.__TAURI_INTERNALS__.invoke('plugin:app|version').then(() => { throw 0; }, () => null),
        close: () => window.__TAURI_INTERNALS__.invoke('plugin:window|close').then(() => { throw 0; }, () => null),
        download: () => { const link = document.createElement('a'); link.href = 'data:text/plain,x';
                          link.download = 'x.txt'; document.body.append(link); link.click(); link.remove(); },
        print: () => window.print(),
        storage: () => { try { if (window.localStorage) throw 0; } catch (error) { if (error === 0) throw 0; } },
        away: () => { window.location.href = 'https://example.invalid/'; },
        file: () => { window.location.href = 'file:///etc/passwd'; },
    };
    (async () => {
        for (const [name, attempt] of Object.entries(tries)) {
            try { await attempt(); } catch (error) { came.push(name + (error === 0 ? '' : ': ' + error)); }
        }
        done(came);
    })();";

#[test]
fn no_mouse_key_or_script_leads_out_of_the_window() -> Result<()> {
    let display = Display::start(Size::ALL[1])?;
    let plant = Plant::new("window_passer_by")?;
    let station = plant.station("dispense-1")?;
    let window = open(&station, &display)?;
    let hands = Hands::at(&display)?;
    let before = hands.windows()?;
    let [own] = before.as_slice() else { panic!("one window: {before:?}") };
    hands.focus(*own)?;
    let place = "return [location.href, innerWidth, innerHeight, devicePixelRatio, visualViewport.scale, \
                 window.getSelection().toString(), document.querySelector('.kiosk').dataset.main];";
    let at_first = window.script(place)?;
    // The page stops every key where it comes in, so that is where they are counted.
    window.script(
        "window.heard = []; const stop = Event.prototype.stopImmediatePropagation; \
         Event.prototype.stopImmediatePropagation = function () { \
         if (this.type === 'keydown') heard.push(this.key); stop.call(this); };",
    )?;
    let middle = (400, 300);
    let still_there = |after: &str| -> Result<()> {
        // Events come in order: when this key was heard, what was pressed before it has had its effect.
        window.script("heard.length = 0;")?;
        hands.press(&[u32::from('y')])?;
        wait_for(&format!("the page hears a key after {after}"), || {
            let heard = window.script("return heard.includes('y');")?;
            Ok((heard == true).then_some(()))
        })?;
        assert_eq!(hands.windows()?, before, "a window opened: {after}");
        assert_eq!(window.script(place)?, at_first, "{after}");
        Ok(())
    };
    hands.click(middle, 1)?;
    still_there("a click")?;
    for button in [2, 3, 8, 9] {
        hands.click(middle, button)?;
        still_there(&format!("mouse button {button}"))?;
    }
    for keys in keys() {
        hands.press(&keys)?;
        still_there(&format!("keys {keys:#x?}"))?;
    }
    // Ctrl and wheel is zoom.
    hands.click(middle, 4)?;
    still_there("the wheel")?;
    let came = window.wait_script(TRIES)?;
    assert_eq!(came, Value::Array(Vec::new()), "what a script could do");
    still_there("scripts")?;
    assert!(hands.can_be_asked(*own)?, "else a window manager would kill it");
    hands.ask_to_close(*own)?;
    still_there("being asked to close")?;
    // And it is alive.
    window.touch(says("act_devices"))?;
    window.wait("queue and devices", |shown| shown.main == "devices")?;
    window.close()
}

/// Nobody is left in front of a dead page: the program ends, and says to its service that it wants to be started again.
#[test]
fn a_page_whose_process_dies_ends_the_program_with_70() -> Result<()> {
    let display = Display::start(Size::ALL[1])?;
    let plant = Plant::new("window_page_dies")?;
    let station = plant.station("dispense-1")?;
    let start = || -> Result<Process> {
        let mut command = Command::new(program("lotgate-kiosk")?);
        command.arg("--config").arg(station.dir.join("lotgate.toml"));
        command.env("DISPLAY", &display.name).env("GDK_BACKEND", "x11");
        command.env("LOTGATE_LOG", "info,lotgate_station=debug");
        let kiosk = Process::start(&mut command)?;
        said(&kiosk, "screen.first_painted")?;
        Ok(kiosk)
    };
    let kiosk = start()?;
    let page = wait_for("the page's process", || page_of(kiosk.pid()))?;
    ensure!(Command::new("kill").args(["-KILL", &page.to_string()]).status()?.success());
    let (code, _, told) = kiosk.wait()?;
    assert_eq!(code, Some(70), "{told}");

    let kiosk = start()?;
    wait_for("the scanner is open", || Ok(station.scanner.is_open().then_some(())))?;
    station.scanner.scan(&lot_scan("L-0001"))?;
    said(&kiosk, "screen.painted")?;
    let (code, _, told) = kiosk.stop()?;
    assert_eq!(code, Some(0), "asked to stop: {told}");
    Ok(())
}

/// Waits for a line of the program's log.
fn said(kiosk: &Process, message: &str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        ensure!(Instant::now() < deadline, "the window never said {message}");
        let line = kiosk.complaint(Duration::from_millis(200)).unwrap_or_default();
        let line: Value = serde_json::from_str(&line).unwrap_or_default();
        if line.pointer("/fields/message").and_then(Value::as_str) == Some(message) {
            return Ok(());
        }
    }
}

/// The web view's process among the descendants of a program.
fn page_of(program: u32) -> Result<Option<u32>> {
    let mut pages = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if name.starts_with("WebKitWeb") && descends(pid, program) {
            pages.push(pid);
        }
    }
    Ok(pages.first().copied())
}

fn descends(mut pid: u32, from: u32) -> bool {
    while pid > 1 {
        if pid == from {
            return true;
        }
        let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"));
        let parent = status.ok().and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().to_owned();
            line.parse().ok()
        });
        let Some(parent) = parent else { return false };
        pid = parent;
    }
    false
}
