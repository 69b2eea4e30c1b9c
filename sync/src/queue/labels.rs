//! Reading the print jobs back: the newest operations about labels.

use super::error::QueueError;
use super::reader::storage;
use lotgate_domain::entry::Frame;
use lotgate_domain::ids::{Hash, OperationId};
use lotgate_domain::operation::body::Body;
use lotgate_domain::operation::{self, Content};
use lotgate_domain::time::Timestamp;
use rusqlite::{Connection, Row};
use uuid::Uuid;

/// The words of the index `operation_label`, so that it is used.
const NEWEST: &str = "SELECT id, wall, hash, entry FROM operation \
                      WHERE type IN ('label.queued', 'label.state', 'epoch.opened') ORDER BY position DESC LIMIT ?1";

/// A `label.queued` or `label.state` of this station, or an `epoch.opened` between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelOperation {
    /// Its id.
    pub id: OperationId,
    /// Its wall clock.
    pub wall: Timestamp,
    /// What it says; none if the entry is not what was written.
    pub body: Option<Body>,
}

/// The newest `limit` of them, the oldest first.
pub(super) fn newest(connection: &Connection, limit: u64) -> Result<Vec<LabelOperation>, QueueError> {
    let read = || -> rusqlite::Result<Vec<LabelOperation>> {
        connection.prepare_cached(NEWEST)?.query_map([limit], label)?.collect()
    };
    let mut labels = read().map_err(storage)?;
    labels.reverse();
    Ok(labels)
}

fn label(row: &Row<'_>) -> rusqlite::Result<LabelOperation> {
    let id = OperationId(Uuid::from_bytes(row.get(0)?));
    let wall = Timestamp::from_unix_ms(row.get(1)?);
    let body = body(row.get_ref(3)?.as_blob().unwrap_or_default(), Hash(row.get(2)?), id);
    if body.is_none() {
        tracing::error!(%id, "queue.label_damaged");
    }
    Ok(LabelOperation { id, wall, body })
}

fn body(entry: &[u8], hash: Hash, id: OperationId) -> Option<Body> {
    let frame = Frame::read(entry).ok().filter(|frame| frame.hash() == hash)?;
    match operation::read(&frame).ok()?.content {
        Content::Known(operation) if operation.id == id => Some(operation.body),
        Content::Known(_) | Content::Body(..) | Content::LaterVersion => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::MIGRATIONS;
    use super::NEWEST;
    use rusqlite::Connection;

    #[test]
    fn reading_labels_back_does_not_look_at_every_operation() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(MIGRATIONS[0]).unwrap();
        let plan: Vec<String> = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {NEWEST}"))
            .unwrap()
            .query_map([1], |row| row.get(3))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert!(plan.iter().any(|step| step.contains("USING INDEX operation_label")), "{plan:?}");
        assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{plan:?}");
    }
}
