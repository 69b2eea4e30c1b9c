//! The last entries, checked at every start before anything is appended (PROTOCOL §2).
//!
//! Each entry names, under its own signature, the hash of all bytes of the one before, that one's signature included.
//! So the signature of the last entry vouches for every byte that leads up to it: between the others, the links are
//! all that there is to check. They are followed in parts, on any number of connections at once, while whoever opens
//! the queue verifies who the station is; only the end needs to know that.

use super::check::{self, Checker, Keyring};
use super::error::{Fault, FaultCode, OpenError, StorageError};
use super::file::QueueFile;
use super::identity::Identity;
use super::rows::{self, EpochRow, LinkRow};
use super::standing::Standing;
use lotgate_domain::chain::Head;
use lotgate_domain::entry::Frame;
use lotgate_domain::ids::{Epoch, Hash};
use rusqlite::Connection;
use serde::Deserialize;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many entries are checked at start (PROTOCOL §2).
const TAIL: u64 = 1_000;
/// How many of them, the last ones, in every member and against every column beside them.
const IN_EVERY_MEMBER: u64 = 64;
/// How many links are followed at once.
const PART: u64 = 125;

/// The end of a queue, while it is checked.
pub(super) struct Tail {
    epochs: Vec<EpochRow>,
    /// Position of the entry before the first of it.
    before: u64,
    /// Position of its last entry, which is the head of the queue.
    last: u64,
    head: Head,
    /// After which position the next part begins.
    next: AtomicU64,
}

/// What of an entry makes it a link.
#[derive(Deserialize)]
struct Link {
    epoch: Epoch,
    seq: u64,
    prev: Hash,
}

/// How far the links were followed.
struct Followed {
    position: u64,
    /// Hash of the entry there; what was set aside has none that anything would follow.
    hash: Option<Hash>,
}

/// Checks the last [`TAIL`] entries on one connection.
pub(super) fn check_tail(
    connection: &Connection,
    identity: &Identity,
    keyring: &Keyring,
    standing: &Standing,
) -> Result<(), OpenError> {
    let tail = Tail::of(connection, standing)?;
    sound([tail.check(connection, identity, keyring)?])
}

impl Tail {
    /// The last [`TAIL`] entries of the queue that stands so, or what was not pruned of them.
    pub(super) fn of(connection: &Connection, standing: &Standing) -> Result<Self, StorageError> {
        let base = rows::base(connection)?.map_or(0, |(position, _)| position);
        let before = standing.position.saturating_sub(TAIL).max(base);
        Ok(Self {
            epochs: standing.epochs.clone(),
            before,
            last: standing.position,
            head: standing.head,
            next: AtomicU64::new(before),
        })
    }

    /// Whether two have something of it.
    pub(super) fn is_for_two(&self) -> bool {
        self.last.saturating_sub(self.before) > PART
    }

    /// Checks the ends, then takes parts until none is left; gives the first fault in what it did.
    pub(super) fn check(
        &self,
        connection: &Connection,
        identity: &Identity,
        keyring: &Keyring,
    ) -> Result<Option<Fault>, OpenError> {
        let ends = self.check_ends(connection, identity, keyring)?;
        Ok(first(ends, self.follow(connection)?))
    }

    /// [`Tail::follow`] on a connection of its own.
    pub(super) fn follow_beside(&self, file: &QueueFile) -> Result<Option<Fault>, OpenError> {
        let connection = file.open_to_read()?;
        let transaction = connection.unchecked_transaction().map_err(StorageError::from)?;
        Ok(self.follow(&transaction)?)
    }

    /// Takes parts until none is left, and gives the first fault in those that it took.
    fn follow(&self, connection: &Connection) -> Result<Option<Fault>, StorageError> {
        let mut found = None;
        loop {
            let before = self.next.fetch_add(PART, Ordering::Relaxed);
            if before >= self.last {
                return Ok(found);
            }
            let part = (before, before.saturating_add(PART).min(self.last));
            found = first(found, self.follow_part(connection, part)?);
        }
    }

    /// Follows the links of one part. It takes the entry before it by its columns: whether those are right is found
    /// in the part before.
    fn follow_part(
        &self,
        connection: &Connection,
        (before, last): (u64, u64),
    ) -> rusqlite::Result<Option<Fault>> {
        let mut at = Followed { position: before, hash: rows::hash_at(connection, before)? };
        let mut found = None;
        rows::links_between(connection, before, last, |row| {
            let LinkRow { position, epoch_n, seq, .. } = *row;
            found = self.check_link(&mut at, row).err().map(|code| match code {
                FaultCode::Missing => self.missing(at.position.saturating_add(1)),
                code => Fault { position, epoch: epoch_n, seq, code },
            });
            found.is_none()
        })?;
        let ends_aside = self.epoch_at(last).is_some_and(|epoch| is_aside(epoch, last));
        if found.is_none() && at.position != last && !ends_aside {
            found = Some(self.missing(at.position.saturating_add(1)));
        }
        Ok(found)
    }

    /// Checks an entry that a later one vouches for: frame, place, link, and the columns of its place. One that was
    /// set aside is in no chain any more, whatever is wrong with it.
    fn check_link(&self, at: &mut Followed, row: &LinkRow<'_>) -> Result<(), FaultCode> {
        let next = at.position.saturating_add(1);
        let epoch = self.epoch_at(row.position).ok_or(FaultCode::ColumnsDiffer)?;
        if is_aside(epoch, next) {
            *at = Followed { position: row.position, hash: None };
            return Ok(());
        }
        if row.position != next {
            return Err(FaultCode::Missing);
        }
        let frame = Frame::read(row.entry).map_err(|_| FaultCode::BadFrame)?;
        let link: Link = serde_json::from_slice(frame.json()).map_err(|_| FaultCode::BadEnvelope)?;
        let seq = seq_at(epoch, next);
        let prev = if seq == 1 { Some(epoch.certificate) } else { at.hash };
        if link.prev != prev.ok_or(FaultCode::Missing)? {
            return Err(FaultCode::BrokenChain);
        }
        let hash = frame.hash();
        let placed = link.epoch == epoch.epoch && link.seq == seq;
        if !placed || row.epoch_n != epoch.epoch.n || row.seq != seq || row.hash != hash {
            return Err(FaultCode::ColumnsDiffer);
        }
        *at = Followed { position: next, hash: Some(hash) };
        Ok(())
    }

    /// Checks what the links cannot show: where they begin, the entries that no later one vouches for, the last ones
    /// in every member, and that the last of all is the head. Gives the first fault.
    fn check_ends(
        &self,
        connection: &Connection,
        identity: &Identity,
        keyring: &Keyring,
    ) -> Result<Option<Fault>, OpenError> {
        let start = check::start(connection, identity, &self.epochs)?;
        if start.0 == self.before && !self.is_in_place(&start) {
            return Ok(Some(self.missing(self.before.saturating_add(1))));
        }
        let mut found = None;
        let members = self.last.saturating_sub(IN_EVERY_MEMBER).max(self.before);
        let ends = self.epochs.iter().flat_map(ends).flatten();
        for position in ends.filter(|position| *position > self.before && *position <= members) {
            let before = position.saturating_sub(1);
            let fault = match self.head_at(connection, &start, before)? {
                None => Some(self.missing(position)),
                Some(head) => {
                    let checker = Checker::after(identity, keyring, &self.epochs, (before, head));
                    self.check_on(connection, checker, (before, position))?.1
                }
            };
            found = first(found, fault);
        }
        let fault = match self.head_at(connection, &start, members)? {
            None => Some(self.missing(members.saturating_add(1))),
            Some(head) => {
                let checker = Checker::after(identity, keyring, &self.epochs, (members, head));
                let (head, fault) = self.check_on(connection, checker, (members, self.last))?;
                fault.or_else(|| (head != self.head).then(|| self.missing(self.last)))
            }
        };
        Ok(first(found, fault))
    }

    /// Goes along the entries after `before` up to `last`, each in every member, those that nothing vouches for with
    /// their signatures. Gives the point that it came to.
    fn check_on(
        &self,
        connection: &Connection,
        mut checker: Checker<'_>,
        (before, last): (u64, u64),
    ) -> Result<(Head, Option<Fault>), StorageError> {
        let mut found = None;
        rows::operations_after(connection, before, last.saturating_sub(before), |row| {
            if !checker.pass_aside(&row) {
                let alone = self.stands_alone(row.position);
                let checked = if alone { checker.check(&row) } else { checker.check_vouched(&row) };
                found = checked.err().map(|code| check::fault(&row, code));
            }
            Ok::<_, rusqlite::Error>(found.is_none())
        })?;
        Ok((checker.head(), found))
    }

    /// Whether nothing vouches for the entry at `position` but itself: it is the last, or the last of its epoch, or
    /// the last before what was set aside of it, which no later entry names.
    fn stands_alone(&self, position: u64) -> bool {
        position == self.last || self.epochs.iter().flat_map(ends).flatten().any(|end| end == position)
    }

    /// The point at `position` as the columns have it, or the start of all. Nothing follows the hash of what was set
    /// aside, so there it may be missing.
    fn head_at(
        &self,
        connection: &Connection,
        start: &(u64, Head),
        position: u64,
    ) -> Result<Option<Head>, StorageError> {
        if position == start.0 {
            return Ok(Some(start.1));
        }
        let aside = self.epoch_at(position).filter(|epoch| is_aside(epoch, position));
        let aside =
            aside.map(|row| Head { epoch: Some(row.epoch), seq: seq_at(row, position), hash: Hash::ZERO });
        Ok(check::head_at(connection, &self.epochs, position)?.or(aside))
    }

    /// Whether what was pruned last lay where it says.
    fn is_in_place(&self, (position, base): &(u64, Head)) -> bool {
        base.epoch.is_none_or(|epoch| {
            let placed = |row: &EpochRow| row.epoch == epoch && row.position(base.seq) == Some(*position);
            self.epoch_at(*position).is_some_and(placed)
        })
    }

    /// The epoch of a position.
    fn epoch_at(&self, position: u64) -> Option<&EpochRow> {
        self.epochs.iter().rev().find(|epoch| epoch.first_position <= position)
    }

    fn missing(&self, position: u64) -> Fault {
        let (epoch, seq) = self.epoch_at(position).map_or((0, 0), |row| (row.epoch.n, seq_at(row, position)));
        Fault { position, epoch, seq, code: FaultCode::Missing }
    }
}

fn seq_at(epoch: &EpochRow, position: u64) -> u64 {
    position.saturating_sub(epoch.first_position).saturating_add(1)
}

fn is_aside(epoch: &EpochRow, position: u64) -> bool {
    epoch.first_position <= position && epoch.is_aside(seq_at(epoch, position))
}

/// Positions after which the chain does not go on by a link: the end of the epoch before, and where this one was ended.
fn ends(epoch: &EpochRow) -> [Option<u64>; 2] {
    let aside = epoch.aside_after.and_then(|after| epoch.position(after));
    [epoch.first_position.checked_sub(1), aside]
}

fn first(one: Option<Fault>, other: Option<Fault>) -> Option<Fault> {
    [one, other].into_iter().flatten().min_by_key(|fault| fault.position)
}

/// What follows from everything that was found.
///
/// # Errors
/// `Damaged` with the fault that comes first in the queue.
pub(super) fn sound(found: impl IntoIterator<Item = Option<Fault>>) -> Result<(), OpenError> {
    found.into_iter().fold(None, first).map_or(Ok(()), |fault| Err(OpenError::Damaged(fault)))
}
