//! Messages with random values.

use super::*;

/// Pseudo-random values, the same in each run (xorshift64).
pub(super) struct Values(pub(super) u64);

impl Values {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // Small numbers as often as large ones, since their encodings differ.
        self.0 >> (self.0 % 64)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 0
    }

    fn text(&mut self) -> String {
        let letters = ['a', '-', ':', '9', 'é', '🦀'];
        (0..self.below(9)).map(|_| letters[self.below(6) as usize]).collect()
    }

    fn several<T>(&mut self, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(5)).map(|_| one(self)).collect()
    }

    fn count(&mut self) -> ServerCount {
        ServerCount { server: self.text(), count: self.next() }
    }

    fn connection(&mut self) -> ConnectionV1 {
        let family = if self.flag() { Family::Tcp } else { Family::Unix };
        let stage = if self.flag() { Stage::Fresh } else { Stage::Idle };
        ConnectionV1 { server: self.text(), family, stage, ahead: self.bytes() }
    }

    fn connection_v2(&mut self) -> ConnectionV2 {
        ConnectionV2 { listener: NonZeroU16::new(self.next() as u16), connection: self.connection() }
    }

    fn connection_v3(&mut self) -> ConnectionV3 {
        ConnectionV3 { connection: self.connection_v2(), session: self.flag().then(|| self.session()) }
    }

    fn connection_v7(&mut self) -> ConnectionV7 {
        let proxy_header = match self.below(3) {
            0 => ProxyHeader::None,
            1 => ProxyHeader::Owed,
            _ => ProxyHeader::Read(self.bytes()),
        };
        ConnectionV7 { connection: self.connection_v3(), proxy_header }
    }

    fn connection_v8(&mut self) -> ConnectionV8 {
        ConnectionV8 { connection: self.connection_v7(), client_chain: self.several(Self::bytes) }
    }

    fn bytes(&mut self) -> Vec<u8> {
        self.several(|values| values.next() as u8)
    }

    fn direction(&mut self) -> Direction {
        Direction { secret: Secret(self.bytes()), sequence: self.next() }
    }

    pub(super) fn session(&mut self) -> Session {
        Session {
            suite: self.next() as u16,
            client: self.direction(),
            server: self.direction(),
            owes_key_update: self.flag(),
            without_data: self.next() as u8,
            warnings: self.next() as u8,
            refused_renegotiation: self.flag(),
            message: CutMessage { header: self.bytes(), missing: self.next() as u16 },
            sni: self.flag().then(|| self.text()),
            alpn: [None, Some(Alpn::Http11), Some(Alpn::H2)][self.below(3) as usize],
            cut: self.bytes(),
        }
    }

    pub(super) fn hello(&mut self) -> Hello {
        let (oldest, newest) = (self.next() as u16, self.next() as u16);
        Hello { oldest, newest, pid: self.next() as i32, ..Hello::new(self.next()) }
    }

    pub(super) fn message_to_successor(&mut self) -> ToSuccessor {
        let (number, last) = (self.next() as u32, self.flag());
        match self.below(ToSuccessor::COUNT.into()) {
            0 => ToSuccessor::TicketKeys {
                keys: self.several(|values| Key {
                    name: [values.next() as u8; 16],
                    secret: [values.next() as u8; 32],
                    made_at: values.next(),
                }),
            },
            1 => ToSuccessor::Listeners {
                listeners: self
                    .several(|values| ListenerV1 { server: values.text(), endpoint: values.text() }),
                last,
            },
            2 => ToSuccessor::Commit { held: self.several(Self::count) },
            3 => ToSuccessor::Connections { connections: self.several(Self::connection) },
            4 => ToSuccessor::Held { held: self.several(Self::count) },
            5 => ToSuccessor::StandbyOver,
            6 => ToSuccessor::Done,
            7 => ToSuccessor::Offers {
                listeners: self.several(|values| ListenerV2 {
                    server: values.text(),
                    endpoint: values.text(),
                    secure: values.flag(),
                }),
                last,
            },
            8 => ToSuccessor::Batch { number, connections: self.several(Self::connection_v2) },
            9 => ToSuccessor::Ping { number },
            10 => ToSuccessor::Counts {
                number,
                held: self.several(Self::count),
                asked: self.several(Self::count),
            },
            11 => ToSuccessor::BatchV3 { number, connections: self.several(Self::connection_v3) },
            12 => ToSuccessor::Parcel { name: self.text(), data: self.bytes() },
            13 => ToSuccessor::BatchV7 { number, connections: self.several(Self::connection_v7) },
            14 => ToSuccessor::BatchV8 { number, connections: self.several(Self::connection_v8) },
            number => panic!("no value of variant {number}"),
        }
    }

    pub(super) fn message_to_predecessor(&mut self) -> ToPredecessor {
        let number = self.next() as u32;
        match self.below(ToPredecessor::COUNT.into()) {
            0 => ToPredecessor::Ready {
                servers: self.several(Self::text),
                claimed: self.several(|values| values.next() as u32),
            },
            1 => ToPredecessor::Failed { reason: self.text() },
            2 => ToPredecessor::Taken { count: number },
            3 => ToPredecessor::Busy { id: number },
            4 => ToPredecessor::Idle { id: number },
            5 => ToPredecessor::HasSuccessor,
            6 => ToPredecessor::Exiting,
            7 => ToPredecessor::TakenOf { number, count: self.next() as u32 },
            8 => ToPredecessor::Pong { number },
            9 => ToPredecessor::Granted { number, granted: self.count() },
            10 => ToPredecessor::Parcel { name: self.text(), data: self.bytes() },
            11 => ToPredecessor::ReadyV8 {
                servers: self.several(Self::text),
                claimed: self.several(|values| values.next() as u32),
                with_client_certs: self.several(Self::text),
            },
            number => panic!("no value of variant {number}"),
        }
    }
}
