//! A mouse and a keyboard at an X server, as a passer-by might plug them in (XTEST).

use anyhow::{Context as _, Result};
use lotgate_tests::display::Display;
use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::{
    AtomEnum, ClientMessageEvent, ConnectionExt as _, EventMask, InputFocus, MapState, Window,
};
use x11rb::protocol::xtest::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;

const KEY_DOWN: u8 = 2;
const KEY_UP: u8 = 3;
const BUTTON_DOWN: u8 = 4;
const BUTTON_UP: u8 = 5;
const MOVE: u8 = 6;

/// The keys of X11's keysymdef.h that browsers and desktops listen to.
pub(crate) mod key {
    pub(crate) const CONTROL: u32 = 0xffe3;
    pub(crate) const SHIFT: u32 = 0xffe1;
    pub(crate) const ALT: u32 = 0xffe9;
    pub(crate) const ESCAPE: u32 = 0xff1b;
    pub(crate) const TAB: u32 = 0xff09;
    pub(crate) const ENTER: u32 = 0xff0d;
    pub(crate) const LEFT: u32 = 0xff51;
    pub(crate) const MENU: u32 = 0xff67;
    /// Function key 1.
    pub(crate) const F1: u32 = 0xffbe;
}

/// Somebody at a display.
pub(crate) struct Hands {
    connection: RustConnection,
    root: Window,
    codes: Vec<(u32, u8)>,
}

impl Hands {
    pub(crate) fn at(display: &Display) -> Result<Self> {
        let (connection, screen) = x11rb::connect(Some(&display.name))?;
        let setup = connection.setup();
        let root = setup.roots.get(screen).context("no screen")?.root;
        let first = setup.min_keycode;
        let mapping = connection.get_keyboard_mapping(first, setup.max_keycode - first + 1)?.reply()?;
        let rows = mapping.keysyms.chunks(usize::from(mapping.keysyms_per_keycode));
        let codes = (first..=setup.max_keycode)
            .zip(rows)
            .flat_map(|(code, row)| row.iter().map(move |key| (*key, code)))
            .collect();
        Ok(Self { connection, root, codes })
    }

    /// Presses the keys one after the other and lets go of them in reverse.
    pub(crate) fn press(&self, keys: &[u32]) -> Result<()> {
        let code = |key: &u32| {
            let found = self.codes.iter().find(|(known, _)| known == key).map(|(_, code)| *code);
            found.with_context(|| format!("the keyboard has no key {key:#x}"))
        };
        let codes = keys.iter().map(code).collect::<Result<Vec<_>>>()?;
        for code in &codes {
            self.fake(KEY_DOWN, *code, (0, 0))?;
        }
        for code in codes.iter().rev() {
            self.fake(KEY_UP, *code, (0, 0))?;
        }
        Ok(())
    }

    /// Clicks at a point of the screen; button 3 is the right one.
    pub(crate) fn click(&self, at: (i16, i16), button: u8) -> Result<()> {
        self.fake(MOVE, 0, at)?;
        self.fake(BUTTON_DOWN, button, at)?;
        self.fake(BUTTON_UP, button, at)
    }

    /// The windows that can be seen: the product's own, and whatever opened over it.
    pub(crate) fn windows(&self) -> Result<Vec<Window>> {
        let mut seen = Vec::new();
        for window in self.connection.query_tree(self.root)?.reply()?.children {
            // One that closes meanwhile is none.
            let Ok(shown) = self.connection.get_window_attributes(window)?.reply() else { continue };
            let Ok(place) = self.connection.get_geometry(window)?.reply() else { continue };
            if shown.map_state == MapState::VIEWABLE && place.width > 1 && place.height > 1 {
                seen.push(window);
            }
        }
        Ok(seen)
    }

    /// Gives the keyboard to a window, as a window manager would.
    pub(crate) fn focus(&self, window: Window) -> Result<()> {
        self.connection.set_input_focus(InputFocus::PARENT, window, x11rb::CURRENT_TIME)?.check()?;
        Ok(())
    }

    /// What the × of a window frame, or Alt+F4, has a window manager send.
    pub(crate) fn ask_to_close(&self, window: Window) -> Result<()> {
        let atom = |name: &str| -> Result<u32> {
            Ok(self.connection.intern_atom(false, name.as_bytes())?.reply()?.atom)
        };
        let data = [atom("WM_DELETE_WINDOW")?, x11rb::CURRENT_TIME, 0, 0, 0];
        let message = ClientMessageEvent::new(32, window, atom("WM_PROTOCOLS")?, data);
        self.connection.send_event(false, window, EventMask::NO_EVENT, message)?.check()?;
        Ok(())
    }

    /// Whether the window says that it can be asked to close, as every program of a desktop does.
    pub(crate) fn can_be_asked(&self, window: Window) -> Result<bool> {
        let protocols = self.connection.intern_atom(false, b"WM_PROTOCOLS")?.reply()?.atom;
        let reply = self.connection.get_property(false, window, protocols, AtomEnum::ATOM, 0, 32)?.reply()?;
        let delete = self.connection.intern_atom(false, b"WM_DELETE_WINDOW")?.reply()?.atom;
        Ok(reply.value32().is_some_and(|mut atoms| atoms.any(|atom| atom == delete)))
    }

    fn fake(&self, what: u8, detail: u8, at: (i16, i16)) -> Result<()> {
        let now = x11rb::CURRENT_TIME;
        self.connection.xtest_fake_input(what, detail, now, self.root, at.0, at.1, 0)?.check()?;
        Ok(())
    }
}
