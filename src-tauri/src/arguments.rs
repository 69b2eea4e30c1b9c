//! The command line of the program.

use clap::Parser;
use lotgate_station::config::Flags;
use lotgate_station::kiosk::Options;
use std::path::PathBuf;
use std::str::FromStr;

/// Lotgate: the window of one station.
#[derive(Debug, Clone, Parser)]
#[command(name = "lotgate-kiosk", version)]
pub(crate) struct Arguments {
    /// Configuration file [default: /etc/lotgate/lotgate.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of the queue [default: /var/lib/lotgate]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Directory of keys and rollback anchor [default: the data directory with ".secure" added]
    #[arg(long, value_name = "DIR")]
    secure_dir: Option<PathBuf>,
    /// The cloud, https://host[:port] [default: the one that enrolled this station]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// For development: a window of this size, for example 1280x800, instead of the whole screen
    #[arg(long, value_name = "WxH")]
    pub(crate) window: Option<Size>,
    /// Show a tray of codes to touch instead of a scanner
    #[arg(long)]
    demo: bool,
}

impl Arguments {
    /// What the command line says of the configuration.
    pub(crate) fn flags(&self) -> Flags {
        let Self { config, data_dir, secure_dir, server, .. } = self.clone();
        Flags { config, data_dir, secure_dir, server }
    }

    /// What the station is told.
    pub(crate) fn station(&self) -> Options {
        Options { flags: self.flags(), demo: self.demo }
    }
}

/// Size of a window, in logical pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    /// From left to right.
    pub(crate) width: u32,
    /// From top to bottom.
    pub(crate) height: u32,
}

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let side = |digits: &str| digits.parse().ok().filter(|side| (320..=7_680).contains(side));
        let sides = text.split_once('x').and_then(|(width, height)| Some((side(width)?, side(height)?)));
        let (width, height) = sides.ok_or("width and height from 320 to 7680, as in 1280x800")?;
        Ok(Self { width, height })
    }
}

#[cfg(test)]
mod tests {
    use super::{Arguments, Size};
    use clap::Parser as _;

    #[test]
    fn a_size_has_two_sides_within_reason() {
        assert_eq!("1280x800".parse(), Ok(Size { width: 1_280, height: 800 }));
        for wrong in
            ["", "1280", "1280x", "1280×800", "1280x800x2", "-1x800", "319x800", "1280x7681", "1e3x800"]
        {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_places_of_the_agent_are_named_alike_here() {
        let line = [
            "lotgate-kiosk",
            "--config",
            "c",
            "--data-dir",
            "d",
            "--secure-dir",
            "s",
            "--server",
            "u",
            "--demo",
        ];
        let options = Arguments::try_parse_from(line).unwrap().station();
        assert!(options.demo);
        assert_eq!(options.flags.config.unwrap().to_str(), Some("c"));
        assert_eq!(options.flags.data_dir.unwrap().to_str(), Some("d"));
        assert_eq!(options.flags.secure_dir.unwrap().to_str(), Some("s"));
        assert_eq!(options.flags.server.as_deref(), Some("u"));
    }
}
