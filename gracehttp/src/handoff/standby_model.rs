//! Whenever a successor is killed: its predecessor takes back each connection of which no byte was read that is not
//! answered, and no other. The memory of the ledger and the sockets are real.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::thread;

use super::*;
use crate::conn::Moved;
use crate::socket::Origin;
use crate::sync::model::check;

/// The part of the successor that could die at any of its steps.
struct Successor {
    moved: Moved,
    socket: UnixStream,
    stage: Stage,
    is_killed: Arc<AtomicBool>,
}

impl Successor {
    fn is_alive(&self) -> bool {
        !self.is_killed.load(Ordering::SeqCst)
    }

    /// Marks, reads, answers and marks again, as the task of a connection does. None once it is killed.
    fn turn(&mut self, origin: Option<Origin>) -> Option<()> {
        let alive = |this: &Self| this.is_alive().then_some(());
        alive(self)?;
        if let Some(entry) = self.moved.entry(origin) {
            entry.set(Mark::Busy);
        }
        alive(self)?;
        let mut request = [0];
        let is_request = matches!(self.socket.read(&mut request), Ok(1));
        alive(self)?;
        if is_request {
            self.socket.write_all(b"a").unwrap();
            self.stage = Stage::Idle;
            alive(self)?;
        }
        self.moved.idle(origin, self.stage);
        Some(())
    }
}

#[test]
fn a_connection_comes_back_if_and_only_if_nothing_that_was_read_is_owed() {
    check(|| {
        let (ours, file) = Ledger::create().unwrap();
        let (socket, mut client) = UnixStream::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        client.set_nonblocking(true).unwrap();
        let mut duplicate = socket.try_clone().unwrap();
        let is_killed = Arc::new(AtomicBool::new(false));
        let mut successor =
            Successor { moved: Moved::default(), socket, stage: Stage::Fresh, is_killed: is_killed.clone() };
        successor.moved.watch(Some(Ledger::of(&file).unwrap()), |_| true);
        let origin = Origin::new(1);
        let runs = thread::spawn(move || {
            while successor.turn(origin).is_some() {
                thread::yield_now();
            }
        });
        client.write_all(b"r").unwrap();
        thread::yield_now();
        is_killed.store(true, Ordering::SeqCst);
        // A process that is dead does nothing more.
        runs.join().unwrap();

        let mark = ours.mark(1).unwrap();
        let has_answer = matches!(client.read(&mut [0]), Ok(1));
        let is_unread = matches!(duplicate.read(&mut [0]), Ok(1));
        match left_with(mark, Stage::Idle, Bytes::new()) {
            Some(_) => assert!(has_answer != is_unread, "{mark:?}: answer {has_answer}, unread {is_unread}"),
            // It was killed between its mark and the next one.
            None => assert_eq!(mark, Mark::Busy),
        }
        if !has_answer && !is_unread {
            assert_eq!(mark, Mark::Busy, "a request is gone");
        }
    });
}

/// The standby ends while the connection is read: the marks after that mean nothing, and nothing is taken back.
#[test]
fn no_mark_after_the_end_of_the_standby_promises_an_idle_connection() {
    check(|| {
        let (ours, file) = Ledger::create().unwrap();
        let moved = Arc::new(Moved::default());
        moved.watch(Some(Ledger::of(&file).unwrap()), |_| true);
        let origin = Origin::new(1);
        let reads = thread::spawn({
            let moved = moved.clone();
            move || {
                let entry = moved.entry(origin);
                entry.as_ref().inspect(|entry| entry.set(Mark::Busy));
                entry
            }
        });
        moved.forget();
        let entry = reads.join().unwrap();
        // It has read a request. Its mark was made, or there is none at all.
        let mark = ours.mark(1).unwrap();
        entry.inspect(|entry| entry.set(Mark::Idle));
        assert_eq!(ours.mark(1), Some(mark), "a mark after the end");
        assert!(moved.entry(origin).is_none());
    });
}
