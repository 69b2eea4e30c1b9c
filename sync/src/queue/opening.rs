//! How a queue comes to be, and how it is opened again: checks first, on connections that can change nothing;
//! then whatever is in doubt gets a new epoch, in this file or a new one; then the threads (PROTOCOL §2).

use super::anchor::{self, AnchorKeeper};
use super::check::{self, Keyring};
use super::compose::Composer;
use super::epochs::{epoch_row, next_number, opening_body, point};
use super::error::{AppendError, OpenError, StorageError};
use super::file::QueueFile;
use super::identity::{self, Identity};
use super::present::{Own, Present};
use super::reader::{Reader, ReaderSlot};
use super::remembered::{self, Begun, Remembered};
use super::rows;
use super::salvage::{self, Salvage};
use super::standing::{self, Standing, Surroundings};
use super::tail::{self, Tail};
use super::view::missing;
use super::writer::{Writer, operation_row};
use super::{Draft, Line, Queue, QueueOptions, recovery, set_aside};
use crate::secure::{Places, Secure};
use lotgate_domain::chain::Head;
use lotgate_domain::epoch::EpochReason;
use lotgate_domain::ids::{Epoch, EpochId};
use lotgate_domain::operation::body::{Body, ChainPoint};
use rusqlite::Connection;
use std::io;
use std::sync::{Arc, mpsc};
use tokio::sync::watch;

/// Why a file was set aside that an earlier queue knew of.
const NOTED_LATER: &str = "noted_later";
/// A new file is made under this name and renamed when its first operation is in it.
const NEW_FILE: &str = "queue.new";

/// Makes the file, with the first operation in it, and the first anchor.
pub(super) fn create(options: &QueueOptions, identity: &Identity) -> Result<(), OpenError> {
    let secure = &options.secure;
    if !secure.is_locked() {
        return Err(OpenError::NotLocked);
    }
    let places = secure.places();
    if places.storage.exists(&places.queue_file()) {
        return Err(OpenError::AlreadyEnrolled);
    }
    match missing(secure) {
        OpenError::NotEnrolled => {}
        error => return Err(error),
    }
    if secure.keys_of(&identity.public_key()).is_none() {
        return Err(OpenError::Foreign);
    }
    let body = Body::StationEnrolled {
        certificate: identity.certificate.hash,
        key_protection: identity.key_protection.as_str().to_owned(),
    };
    let first = First { n: 1, reason: None, body, set_aside: None, salvage: Salvage::default() };
    let last = make_file(options, identity, first)?;
    anchor::write(places, identity.station, last).map_err(OpenError::Anchor)?;
    remembered::write(places, identity, &Begun::in_place(1, None)).map_err(OpenError::Io)
}

/// What a new file begins with.
struct First {
    n: u64,
    reason: Option<EpochReason>,
    body: Body,
    /// Name and fault of the file before.
    set_aside: Option<(String, String)>,
    salvage: Salvage,
}

/// Makes a queue file with one epoch and its first operation in it. It is there whole, or not at all.
fn make_file(options: &QueueOptions, identity: &Identity, first: First) -> Result<ChainPoint, OpenError> {
    let places = options.secure.places();
    let storage = &*places.storage;
    // What an attempt left that did not come to its end: nobody was told of anything in it.
    for ending in ["", "-journal", "-wal", "-shm"] {
        match storage.remove(&places.data.join(format!("{NEW_FILE}{ending}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(OpenError::Io(error)),
            _ => {}
        }
    }
    let path = places.data.join(NEW_FILE);
    let file = QueueFile::new(places, path.clone(), options.secure.queue_key().clone());
    let last = write_first(&file, options, identity, first)?;
    storage.sync(&path).map_err(OpenError::Io)?;
    // Before anything can be in the queue, its two holders can open it.
    recovery::seal(&options.secure, identity, &*options.random)?;
    storage.rename(&path, &places.queue_file()).map_err(OpenError::Io)?;
    storage.sync_dir(&places.data).map_err(OpenError::Io)?;
    Ok(last)
}

fn write_first(
    file: &QueueFile,
    options: &QueueOptions,
    identity: &Identity,
    first: First,
) -> Result<ChainPoint, OpenError> {
    let mut connection = file.create()?;
    let composer = composer(options, Arc::new(identity.clone()))?;
    let epoch = Epoch { n: first.n, id: EpochId(composer.random_id().map_err(not_composed)?) };
    let genesis = Head::genesis(identity.certificate.hash);
    let mut clock = first.salvage.clock;
    let composed = composer
        .compose(Draft::by_station(first.body, None), epoch, &genesis, 1, &clock)
        .map_err(not_composed)?;
    let appended = composed.appended;
    clock.see(appended.at.wall);
    let row = operation_row(&appended, composed.entry);
    let write = move |connection: &mut Connection| -> rusqlite::Result<()> {
        let transaction = connection.transaction()?;
        identity::store(&transaction, identity)?;
        rows::insert_epoch(&transaction, &epoch_row(epoch, 1, identity, first.reason))?;
        rows::insert(&transaction, &row)?;
        standing::store_clock(&transaction, &clock, 1)?;
        if let Some(page) = &first.salvage.page {
            salvage::store_page(&transaction, page)?;
        }
        salvage::store_log(&transaction, first.salvage.log)?;
        if let (Some((name, code)), Some(reason)) = (&first.set_aside, first.reason) {
            set_aside::note_file(&transaction, name, reason, code)?;
        }
        transaction.commit()?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    };
    write(&mut connection).map_err(StorageError::from)?;
    connection.close().map_err(|(_, error)| StorageError::from(error))?;
    Ok(ChainPoint { epoch, seq: appended.seq, hash: appended.hash })
}

fn not_composed(error: AppendError) -> OpenError {
    match error {
        AppendError::Random(error) => OpenError::Random(error),
        AppendError::Invalid(error) => OpenError::Write(error),
        _ => OpenError::Foreign,
    }
}

/// Checks everything, opens a new epoch where something is in doubt, then opens for writing and starts the
/// threads.
pub(super) fn open(options: QueueOptions) -> Result<Queue, OpenError> {
    let secure = &options.secure;
    if !secure.is_locked() {
        return Err(OpenError::NotLocked);
    }
    let places = secure.places();
    let file = QueueFile::new(places, places.queue_file(), secure.queue_key().clone());
    let mut remembered = None;
    // A read that fails once may be the disk's mood: a file is judged by the second look.
    let looked = look(&file, &options, &mut remembered);
    let looked = looked.or_else(|_| look(&file, &options, &mut remembered));
    let remembered = remembered.unwrap_or_else(|| remembered::read(secure))?;
    match looked {
        Ok(found) => start(options, file, found, remembered),
        Err(error) => {
            begin_anew(&file, &options, remembered, error)?;
            let mut remembered = None;
            let found = look(&file, &options, &mut remembered)?;
            let remembered = remembered.unwrap_or_else(|| remembered::read(&options.secure))?;
            start(options, file, found, remembered)
        }
    }
}

/// A file that is in order.
struct Found {
    identity: Identity,
    keyring: Keyring,
    /// It is older than what was there before, or that cannot be told any more.
    doubt: bool,
}

/// What the secure directory remembers, or why it could not be read.
type Memory = Result<Option<Remembered>, OpenError>;

/// Every check of the start, on connections that change nothing. What is `remembered` is read, if it was not yet, while
/// the end of the queue is being checked.
fn look(
    file: &QueueFile,
    options: &QueueOptions,
    remembered: &mut Option<Memory>,
) -> Result<Found, OpenError> {
    let secure = &options.secure;
    match file.check_header() {
        Err(OpenError::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Err(missing(secure)),
        checked => checked?,
    }
    let connection = file.open_to_read()?;
    let transaction = connection.unchecked_transaction().map_err(StorageError::from)?;
    let standing = Standing::load(&transaction);
    let tail = standing.as_ref().ok().map(|standing| Tail::of(&transaction, standing)).transpose()?;
    let (identity, here, beside) = std::thread::scope(|scope| {
        let beside = tail.as_ref().filter(|tail| tail.is_for_two() && may_read_at_once(secure));
        // Without another thread, this one does it all.
        let thread = std::thread::Builder::new().name("queue-check".to_owned());
        let beside = beside.and_then(|tail| thread.spawn_scoped(scope, || tail.follow_beside(file)).ok());
        remembered.get_or_insert_with(|| remembered::read(secure));
        let identity =
            identity::load(&transaction, secure).map(|identity| (Keyring::of(&identity), identity));
        let here = match (&identity, &tail) {
            (Ok((keyring, identity)), Some(tail)) => tail.check(&transaction, identity, keyring),
            _ => Ok(None),
        };
        let beside = beside.map_or(Ok(None), |thread| {
            thread.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))
        });
        (identity, here, beside)
    });
    // Whose file it is comes before what is wrong with it.
    let (keyring, identity) = identity?;
    let standing = standing?;
    tail::sound([here?, beside?])?;
    let anchor = anchor::read_if_ours(secure.places(), identity.station)?;
    let doubt = match check::check_anchor(&transaction, &identity, &standing, anchor) {
        Ok(()) => false,
        Err(error @ (OpenError::RolledBack { .. } | OpenError::AnchorMissing)) => {
            tracing::error!(%error, code = error.code(), "queue.in_doubt");
            true
        }
        Err(error) => return Err(error),
    };
    Ok(Found { identity, keyring, doubt })
}

/// Whether a second thread can read while this one computes.
fn may_read_at_once(secure: &Secure) -> bool {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    cores > 1 && !secure.places().storage.in_order()
}

/// Makes a new file in the place of one that is gone or cannot be used, which is set aside.
fn begin_anew(
    file: &QueueFile,
    options: &QueueOptions,
    remembered: Option<Remembered>,
    error: OpenError,
) -> Result<(), OpenError> {
    let secure = &options.secure;
    let places = secure.places();
    let lost = matches!(error, OpenError::Lost);
    if !lost && !error.is_the_files() {
        return Err(error);
    }
    // Without the copy of the certificates there is nothing that a new file could begin with.
    let Some(Remembered { identity, begun }) = remembered else { return Err(error) };
    let anchor = anchor::read_if_ours(places, identity.station)?;
    // A start that did not come to its end has moved the file already, and knows why.
    let unfinished = begun.set_aside.clone().filter(|_| anchor.is_none_or(|anchor| anchor.epoch.n < begun.n));
    let reason = match (lost, &unfinished) {
        (true, Some(_)) => begun.reason.unwrap_or(EpochReason::QueueLost),
        (true, None) => EpochReason::QueueLost,
        (false, _) => EpochReason::QueueDamaged,
    };
    let name = match &unfinished {
        Some(kept) if lost && !set_aside::would_replace(places, &kept.0) => Some(kept.clone()),
        _ if lost && !set_aside::has_stray_log(places) => None,
        _ => {
            let now = options.clock.read().wall;
            Some((set_aside::new_name(places, now), error.code().to_owned()))
        }
    };
    let salvage = match &unfinished {
        _ if !lost => salvage::read(file, &identity),
        Some((kept, _)) => {
            if !set_aside::would_replace(places, kept) {
                set_aside::move_to(places, kept).map_err(OpenError::Io)?;
            }
            salvage::read(&QueueFile::new(places, places.data.join(kept), file.key().clone()), &identity)
        }
        None => Salvage::default(),
    };
    let last = salvage.last;
    let epochs = [Some(begun.n), anchor.map(|anchor| anchor.epoch.n), last.map(|last| last.epoch.n)];
    let n = epochs.into_iter().flatten().max().unwrap_or(0).saturating_add(1);
    let now_begun = Begun { n, reason: Some(reason), set_aside: name.clone() };
    tracing::error!(code = error.code(), epoch = n, reason = reason.as_str(), set_aside = ?name, "queue.begun_anew");
    remembered::write(places, &identity, &now_begun).map_err(OpenError::Io)?;
    if let Some((name, _)) = &name {
        set_aside::move_to(places, name).map_err(OpenError::Io)?;
    }
    let body = opening_body(reason, last, anchor);
    make_file(options, &identity, First { n, reason: Some(reason), body, set_aside: name, salvage })?;
    Ok(())
}

/// Notes every file that was set aside and is not noted here: the queue that knew of it was set aside itself, or is
/// gone, or this one was put back from before. The cloud keeps each entry once.
fn note_all_aside(file: &QueueFile, places: &Places) -> Result<(), OpenError> {
    let mut names = set_aside::files(places).map_err(OpenError::Io)?;
    if names.is_empty() {
        return Ok(());
    }
    let noted: Vec<String> = (|| {
        let connection = file.open_to_read()?;
        let mut statement = connection
            .prepare("SELECT file FROM set_aside WHERE file IS NOT NULL")
            .map_err(StorageError::from)?;
        let noted = statement.query_map([], |row| row.get(0)).map_err(StorageError::from)?;
        noted.collect::<Result<_, _>>().map_err(|error| OpenError::from(StorageError::from(error)))
    })()?;
    names.retain(|name| !noted.contains(name));
    if names.is_empty() {
        return Ok(());
    }
    let mut connection = file.open_to_write()?;
    let note = |connection: &mut Connection| -> rusqlite::Result<()> {
        let transaction = connection.transaction()?;
        for name in &names {
            set_aside::note_file(&transaction, name, EpochReason::QueueDamaged, NOTED_LATER)?;
        }
        transaction.commit()
    };
    note(&mut connection).map_err(|error| StorageError::from(error).into())
}

/// Opens for writing and starts the threads; a file in doubt gets its new epoch before anything else.
fn start(
    options: QueueOptions,
    file: QueueFile,
    found: Found,
    remembered: Option<Remembered>,
) -> Result<Queue, OpenError> {
    let secure = &options.secure;
    let places = secure.places().clone();
    // Nobody waits for what is set aside: without it the station works all the same.
    if let Err(error) = note_all_aside(&file, &places) {
        tracing::error!(%error, code = error.code(), "queue.set_aside_not_noted");
    }
    let mut connection = file.open_to_write()?;
    let mut standing = Standing::load(&connection)?;
    let Found { mut identity, mut keyring, doubt } = found;
    // It was sealed when the file was made; that it is still there must not keep anybody from working.
    if let Err(error) = recovery::seal(secure, &identity, &*options.random) {
        tracing::error!(%error, code = error.code(), "queue.recovery_unsealed");
    }
    let known = remembered.as_ref();
    // A key that was being taken when the power went, or when the file was copied: the cloud may know only the new
    // one by now.
    let newest = known.and_then(|known| newest_of(&identity, known, secure));
    let half_taken = newest.is_some();
    let reason = match known.and_then(|known| known.begun.reason) {
        _ if doubt => Some(EpochReason::RolledBack),
        reason if half_taken => reason,
        _ => None,
    };
    if let Some(reason) = reason {
        identity = newest.unwrap_or(identity);
        keyring = Keyring::of(&identity);
        let begun = known.map(|known| &known.begun);
        open_next(&mut connection, &mut standing, &options, &identity, (reason, begun))?;
    }
    let present_n = standing.epochs.last().map_or(1, |row| row.epoch.n);
    // What only the secure directory knows, such as a certificate that came before the power went, stays there.
    let up_to_date = known.is_some_and(|known| {
        known.begun.n >= present_n
            && identity.certificates.iter().all(|frame| known.identity.certificates.contains(frame))
    });
    if !up_to_date {
        let reason = standing.epochs.last().and_then(|row| row.reason);
        remembered::write(&places, &identity, &Begun::in_place(present_n, reason)).map_err(OpenError::Io)?;
    }
    let last = point(&standing.head).ok_or(OpenError::Foreign)?;
    let anchor = AnchorKeeper::start(places.clone(), identity.station, last).map_err(OpenError::Anchor)?;

    let composer = composer(&options, Arc::new(identity))?;
    let own = Own { identity: Arc::clone(&composer.identity), keys: composer.keys.clone(), keyring };
    let present = Present::new(own);
    let around = Surroundings::of(&places, options.limits);
    let clock = Arc::clone(&options.clock);
    let (state, watched) = watch::channel(standing.state(None, 0, &around));
    let (commands, commanded) = mpsc::channel();
    let (questions, questioned) = mpsc::channel();
    let slot = ReaderSlot::new();
    let reader = Reader { file: file.clone(), present: present.clone(), slot: slot.clone(), places };
    let writer = Writer {
        composer,
        file,
        connection: Some(connection),
        standing,
        around,
        stopped: None,
        commits: 0,
        dirty_pages: 0,
        state,
        reader: slot,
        present: present.clone(),
        anchor,
        secure: options.secure,
    };
    let writer = std::thread::Builder::new()
        .name("queue-writer".to_owned())
        .spawn(move || writer.run(&commanded))
        .map_err(OpenError::Io)?;
    let reader = std::thread::Builder::new()
        .name("queue-reader".to_owned())
        .spawn(move || reader.run(&questioned))
        .map_err(OpenError::Io)?;
    let line = Line { commands: Some(commands), questions: Some(questions), threads: vec![writer, reader] };
    Ok(Queue { line: Arc::new(line), state: watched, present, clock })
}

/// The identity in the file, with the key that the station took since; `None` if it did not.
fn newest_of(identity: &Identity, known: &Remembered, secure: &Secure) -> Option<Identity> {
    let newest = &known.identity;
    if newest.station != identity.station || identity.has_key(&newest.public_key()) {
        return None;
    }
    let keys = secure.keys_of(&newest.public_key())?;
    identity.with_key(&newest.certificates, (&keys.public(), &keys.hpke_public())).ok()
}

/// Opens the next epoch in the same file: what is in it is kept and sent as it is.
fn open_next(
    connection: &mut Connection,
    standing: &mut Standing,
    options: &QueueOptions,
    identity: &Identity,
    (reason, begun): (EpochReason, Option<&Begun>),
) -> Result<(), OpenError> {
    let places = options.secure.places();
    let anchor = anchor::read_if_ours(places, identity.station)?;
    let composer = composer(options, Arc::new(identity.clone()))?;
    let n = next_number(standing, begun, anchor);
    let epoch = Epoch { n, id: EpochId(composer.random_id().map_err(not_composed)?) };
    remembered::write(places, identity, &Begun::in_place(n, Some(reason))).map_err(OpenError::Io)?;
    let position = standing.position.saturating_add(1);
    let body = opening_body(reason, point(&standing.head), anchor);
    let composed = composer
        .compose(Draft::by_station(body, None), epoch, &standing.head, position, &standing.clock)
        .map_err(not_composed)?;
    let row = epoch_row(epoch, position, identity, Some(reason));
    let transaction = connection.transaction().map_err(StorageError::from)?;
    identity::store(&transaction, identity).map_err(StorageError::from)?;
    super::epochs::write_opening(&transaction, row, composed, standing).map_err(StorageError::from)?;
    standing.refresh_delivery(&transaction).map_err(StorageError::from)?;
    transaction.commit().map_err(StorageError::from)?;
    tracing::error!(epoch = n, reason = reason.as_str(), "queue.epoch_opened");
    Ok(())
}

fn composer(options: &QueueOptions, identity: Arc<Identity>) -> Result<Composer, OpenError> {
    let keys = options.secure.keys_of(&identity.public_key()).ok_or(OpenError::KeyMissing)?;
    Ok(Composer {
        identity,
        keys: keys.clone(),
        program: options.program.clone(),
        clock: Arc::clone(&options.clock),
        random: Arc::clone(&options.random),
    })
}
