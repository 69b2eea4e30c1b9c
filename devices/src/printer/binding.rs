//! Which printer, where, and how patient the station is with it.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::event::{DeviceInfo, Role, Transport};

/// The port of label printers that take raw data.
pub const PORT: u16 = 9_100;

/// A network printer as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrinterBinding {
    /// What people call it, where they gave it a name.
    pub name: Option<String>,
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl PrinterBinding {
    /// The printer at `host`, `host:port`, `[IPv6]` or `[IPv6]:port`; `None` if it is none of these. The port is
    /// [`PORT`] if none is given.
    #[must_use]
    pub fn at_address(address: &str) -> Option<Self> {
        let (host, port) = match address.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                host.parse::<Ipv6Addr>().ok()?;
                (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
            }
            None => match address.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (address, None),
            },
        };
        let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() || !(host.contains(':') || host.chars().all(in_name)) {
            return None;
        }
        let port = match port {
            None => PORT,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().ok().filter(|port| *port != 0)?
            }
            Some(_) => return None,
        };
        Some(Self { name: None, host: host.to_owned(), port })
    }

    /// `host:port`, with an IPv6 address in brackets.
    #[must_use]
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Names the printer in operations: `tcp:host:port`. On loopback it is a simulated one.
    #[must_use]
    pub fn info(&self) -> DeviceInfo {
        let loopback = self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        DeviceInfo {
            role: Role::Printer,
            transport: Transport::Tcp,
            id: format!("tcp:{}", self.address()),
            simulated: loopback || self.host.eq_ignore_ascii_case("localhost"),
        }
    }
}

/// How patient the station is with a printer. The default is for production; tests pass shorter times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrinterTiming {
    /// The longest wait for a connection.
    pub connect: Duration,
    /// The longest that a job's bytes may take to leave.
    pub write: Duration,
    /// The longest wait for an answer before the printer counts as silent.
    pub status: Duration,
    /// Between two questions while there is no job.
    pub idle: Duration,
    /// The longest that wait gets, doubling with each question, for an address that never answered as a printer:
    /// something else may print the question.
    pub idle_stranger: Duration,
    /// Between two questions while a job waits for the printer to be ready.
    pub retry: Duration,
    /// Between an answer and the next question after a job's bytes.
    pub watch: Duration,
    /// How far apart two answers must be that both show an idle printer to be evidence.
    pub apart: Duration,
    /// After the bytes: how long without an answer, or with answers that show nothing, until the job is doubtful.
    pub doubtful: Duration,
    /// How many events wait for the consumer before the printer is left alone.
    pub queue: usize,
}

impl Default for PrinterTiming {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            write: Duration::from_secs(10),
            status: Duration::from_secs(2),
            idle: Duration::from_secs(5),
            idle_stranger: Duration::from_secs(60),
            retry: Duration::from_secs(1),
            watch: Duration::from_millis(150),
            apart: Duration::from_millis(500),
            doubtful: Duration::from_secs(30),
            queue: 1_024,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> Option<(String, u16)> {
        PrinterBinding::at_address(address).map(|binding| (binding.host, binding.port))
    }

    #[test]
    fn an_address_is_a_host_with_or_without_a_port() {
        let some = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(at("10.0.0.1"), some("10.0.0.1", 9_100));
        assert_eq!(at("zebra-1.plant.example:6101"), some("zebra-1.plant.example", 6_101));
        assert_eq!(at("[fe80::1]:9100"), some("fe80::1", 9_100));
        assert_eq!(at("[::1]"), some("::1", 9_100));
        for wrong in [
            "", ":9100", "a:", "a:0", "a:65536", "a:+1", "a b", "fe80::1", "[x]:1", "[::1]1", "a/b",
            "http://a",
        ] {
            assert_eq!(at(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_printer_on_loopback_is_simulated_and_its_id_is_its_address() {
        let info = |address: &str| PrinterBinding::at_address(address).map(|binding| binding.info());
        let simulated = |address: &str| info(address).is_some_and(|info| info.simulated);
        assert!(simulated("127.0.0.1") && simulated("LOCALHOST") && simulated("[::1]:9100"));
        assert!(!simulated("10.0.0.1") && !simulated("127.0.0.1.example"));
        let ids = ["zebra", "[::1]:1"].map(|address| info(address).map(|info| info.id));
        assert_eq!(ids, [Some("tcp:zebra:9100".to_owned()), Some("tcp:[::1]:1".to_owned())]);
    }
}
