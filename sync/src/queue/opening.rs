//! How a queue comes to be, and how it is opened again: checks first, on a connection that can change
//! nothing; then the threads.

use super::anchor::{self, AnchorKeeper};
use super::check;
use super::compose::Composer;
use super::error::{AppendError, OpenError, StorageError};
use super::file::QueueFile;
use super::identity::{self, Identity};
use super::reader::{Reader, ReaderSlot};
use super::rows::{self, OperationRow};
use super::standing::{self, Standing};
use super::view::missing;
use super::writer::Writer;
use super::{Draft, Line, Queue, QueueOptions};
use crate::clock::ClockMemory;
use crate::secure::sync_dir;
use lotgate_domain::chain::Head;
use lotgate_domain::ids::{Epoch, EpochId};
use lotgate_domain::operation::body::{Body, ChainPoint};
use std::sync::{Arc, mpsc};
use tokio::sync::watch;

/// The file is made under this name and renamed when its first operation is in it.
const NEW_FILE: &str = "queue.new";

/// Makes the file, with the first operation in it, and the first anchor.
pub(super) fn create(options: &QueueOptions, identity: &Identity) -> Result<(), OpenError> {
    let secure = &options.secure;
    if !secure.is_locked() {
        return Err(OpenError::NotLocked);
    }
    let places = secure.places();
    if places.queue_file().exists() {
        return Err(OpenError::AlreadyEnrolled);
    }
    match missing(secure) {
        OpenError::NotEnrolled => {}
        error => return Err(error),
    }
    if identity.public_key() != secure.station_keys().public() {
        return Err(OpenError::Foreign);
    }
    // What an enrolment left that did not come to its end: nobody was told of anything in it.
    for leftover in [NEW_FILE.to_owned(), format!("{NEW_FILE}-wal"), format!("{NEW_FILE}-shm")] {
        match std::fs::remove_file(places.data.join(leftover)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(OpenError::Io(error)),
            _ => {}
        }
    }
    let path = places.data.join(NEW_FILE);
    let file = QueueFile::new(path.clone(), secure.queue_key().clone());
    let last = write_first(&file, options, identity)?;
    std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|file| file.sync_all())
        .map_err(OpenError::Io)?;
    std::fs::rename(&path, places.queue_file()).map_err(OpenError::Io)?;
    sync_dir(&places.data).map_err(OpenError::Io)?;
    anchor::write(&places.secure, identity.station, last).map_err(OpenError::Anchor)
}

fn write_first(
    file: &QueueFile,
    options: &QueueOptions,
    identity: &Identity,
) -> Result<ChainPoint, OpenError> {
    let mut connection = file.create()?;
    let mut id = [0; 16];
    options.random.fill(&mut id)?;
    let epoch = Epoch { n: 1, id: EpochId(id) };
    let genesis = Head::genesis(identity.certificate.hash);
    let body = Body::StationEnrolled {
        certificate: identity.certificate.hash,
        key_protection: identity.key_protection.as_str().to_owned(),
    };
    let mut clock = ClockMemory::default();
    let composed = composer(options, Arc::new(identity.clone()))
        .compose(Draft::by_station(body, None), epoch, &genesis, 1, &clock)
        .map_err(|error| match error {
            AppendError::Random(error) => OpenError::Random(error),
            AppendError::Invalid(error) => OpenError::Write(error),
            _ => OpenError::Foreign,
        })?;
    let appended = composed.appended;
    clock.see(appended.at.wall);
    let row = OperationRow {
        position: 1,
        epoch_n: epoch.n,
        seq: appended.seq,
        id: appended.id,
        kind: appended.kind.to_owned(),
        hash: appended.hash,
        wall: appended.at.wall,
        entry: composed.entry,
    };
    let write = |connection: &mut rusqlite::Connection| -> rusqlite::Result<()> {
        let transaction = connection.transaction()?;
        identity::store(&transaction, identity)?;
        rows::insert_epoch(&transaction, epoch, 1)?;
        rows::insert(&transaction, &row)?;
        standing::store_clock(&transaction, &clock, 1)?;
        transaction.commit()?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    };
    write(&mut connection).map_err(StorageError::from)?;
    connection.close().map_err(|(_, error)| StorageError::from(error))?;
    Ok(ChainPoint { epoch, seq: appended.seq, hash: appended.hash })
}

/// Checks everything, then opens for writing and starts the threads.
pub(super) fn open(options: QueueOptions) -> Result<Queue, OpenError> {
    let secure = &options.secure;
    if !secure.is_locked() {
        return Err(OpenError::NotLocked);
    }
    let places = secure.places();
    let file = QueueFile::new(places.queue_file(), secure.queue_key().clone());
    if !file.path().exists() {
        return Err(missing(secure));
    }
    let identity = check_untouched(&file, &options)?;
    let connection = file.open_to_write()?;
    let standing = Standing::load(&connection)?;
    let Head { epoch: Some(epoch), seq, hash } = standing.head else { return Err(OpenError::Foreign) };
    let last = ChainPoint { epoch, seq, hash };
    let anchor =
        AnchorKeeper::start(places.secure.clone(), identity.station, last).map_err(OpenError::Anchor)?;

    let identity = Arc::new(identity);
    let keys = secure.station_keys().clone();
    let clock = Arc::clone(&options.clock);
    let (state, watched) = watch::channel(standing.state(None, 0));
    let (commands, commanded) = mpsc::channel();
    let (questions, questioned) = mpsc::channel();
    let slot = ReaderSlot::new();
    let reader = Reader { file: file.clone(), identity: Arc::clone(&identity), slot: slot.clone() };
    let writer = Writer {
        composer: composer(&options, Arc::clone(&identity)),
        file,
        connection: Some(connection),
        standing,
        stopped: None,
        commits: 0,
        dirty_pages: 0,
        state,
        reader: slot,
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
    Ok(Queue { line: Arc::new(line), state: watched, identity, keys, clock })
}

/// Every check of the start, on a connection that changes nothing.
fn check_untouched(file: &QueueFile, options: &QueueOptions) -> Result<Identity, OpenError> {
    let secure = &options.secure;
    let connection = file.open_to_read()?;
    let transaction = connection.unchecked_transaction().map_err(StorageError::from)?;
    let identity = identity::load(&transaction, secure.station_keys(), secure.protection())?;
    let standing = Standing::load(&transaction)?;
    let anchor = anchor::read(&secure.places().secure, Some(identity.station))?;
    check::check_anchor(&transaction, &identity, &standing, anchor)?;
    check::check_tail(&transaction, &identity, &standing)?;
    Ok(identity)
}

fn composer(options: &QueueOptions, identity: Arc<Identity>) -> Composer {
    Composer {
        identity,
        keys: options.secure.station_keys().clone(),
        program: options.program.clone(),
        clock: Arc::clone(&options.clock),
        random: Arc::clone(&options.random),
    }
}
