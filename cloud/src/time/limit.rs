//! How often an open route is answered: so many times a second for one address, and so many for all.

use lotgate_domain::time::Timestamp;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Answers a second for one address: a plant of stations with dead clocks may stand behind one.
pub const FOR_ONE: u32 = 50;
/// Answers a second for all addresses of one process.
pub const FOR_ALL: u32 = 500;

/// What was answered in the present second, in this process.
#[derive(Debug, Default)]
pub struct Limit(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    second: i64,
    all: u32,
    by_address: HashMap<IpAddr, u32>,
}

impl Limit {
    /// Whether one more may be answered now. Who gives no address shares one count.
    #[must_use]
    pub fn admits(&self, address: Option<IpAddr>, now: Timestamp) -> bool {
        let address = network(address.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)));
        let second = now.unix_ms().div_euclid(1_000);
        // Counts are changed in one step each, so they are right even after a panic.
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if window.second != second {
            *window = Window { second, ..Window::default() };
        }
        if window.all >= FOR_ALL {
            return false;
        }
        let count = window.by_address.entry(address).or_default();
        if *count >= FOR_ONE {
            return false;
        }
        *count = count.saturating_add(1);
        window.all = window.all.saturating_add(1);
        true
    }
}

/// Who has one IPv6 address has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(std::net::Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    fn admitted(limit: &Limit, address: &str, now: Timestamp) -> u32 {
        let address = address.parse().ok();
        (0..FOR_ALL + 1).filter(|_| limit.admits(address, now)).count().try_into().unwrap()
    }

    #[test]
    fn one_address_has_its_count_in_each_second_and_leaves_the_others_theirs() {
        let limit = Limit::default();
        assert_eq!(admitted(&limit, "192.0.2.1", at(999)), FOR_ONE);
        assert_eq!(admitted(&limit, "192.0.2.2", at(999)), FOR_ONE, "another address");
        assert_eq!(admitted(&limit, "192.0.2.1", at(1_000)), FOR_ONE, "the next second");
        assert_eq!(admitted(&limit, "192.0.2.1", at(500)), FOR_ONE, "a clock that was set back");
    }

    #[test]
    fn addresses_of_one_network_share_a_count_and_all_together_have_an_end() {
        let limit = Limit::default();
        assert_eq!(admitted(&limit, "2001:db8::1", at(0)), FOR_ONE);
        assert_eq!(admitted(&limit, "2001:db8::2", at(0)), 0, "the same /64");
        assert_eq!(admitted(&limit, "2001:db8:0:1::1", at(0)), FOR_ONE, "another /64");
        let others: u32 = (0..20).map(|n| admitted(&limit, &format!("192.0.2.{n}"), at(0))).sum();
        assert_eq!(others, FOR_ALL - 2 * FOR_ONE, "all together");
    }
}
