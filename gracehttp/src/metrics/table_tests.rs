use std::process::Command;

use super::*;

const ONE: Layout = Layout::Shared { values: 1 };

/// The same table as another process sees it.
fn other(table: &Table) -> Table {
    Table::adopt(table.file().try_clone_to_owned().unwrap()).unwrap()
}

fn add(table: &Table, key: &str, count: u64) {
    table.slot(key.as_bytes(), ONE).unwrap().mine()[0].fetch_add(count, Ordering::Relaxed);
}

fn value(table: &Table, key: &str) -> Option<u64> {
    table.all().into_iter().find(|(known, _)| **known == *key.as_bytes()).map(|(_, values)| values[0])
}

#[test]
fn two_mappings_add_to_the_same_series() {
    let one = Table::create().unwrap();
    add(&one, "a", 3);
    let two = other(&one);
    add(&two, "a", 4);
    add(&two, "b", 1);
    assert_eq!((value(&one, "a"), value(&one, "b")), (Some(7), Some(1)));
    assert_eq!(one.all().len(), 2);
}

#[test]
fn many_claims_at_once_lose_nothing_and_no_value_decreases() {
    const PROCESSES: usize = 4;
    const KEYS: usize = 50;
    let table = Table::create().unwrap();
    let stopped = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let adders: Vec<_> = (0..PROCESSES)
            .map(|_| {
                let table = other(&table);
                scope.spawn(move || {
                    for round in 0..20 {
                        (0..KEYS).for_each(|key| add(&table, &format!("key {key} of {}", round % 2), 1));
                    }
                })
            })
            .collect();
        let watch = scope.spawn(|| {
            let mut before: HashMap<Box<[u8]>, u64> = HashMap::new();
            while !stopped.load(Ordering::Relaxed) {
                for (key, values) in table.all() {
                    let last = before.insert(key, values[0]).unwrap_or_default();
                    assert!(last <= values[0], "{last} became {}", values[0]);
                }
            }
        });
        adders.into_iter().for_each(|adder| adder.join().unwrap());
        stopped.store(true, Ordering::Relaxed);
        watch.join().unwrap();
    });
    let all = table.all();
    assert_eq!(all.len(), 2 * KEYS);
    assert!(all.iter().all(|(_, values)| values[0] == 10 * PROCESSES as u64), "{all:?}");
}

#[test]
fn a_process_that_dies_in_the_middle_of_a_claim_stops_no_other() {
    let table = Table::create().unwrap();
    add(&table, "before", 1);
    // It has claimed its record, and dies.
    let end = table.index.lock().seen;
    let shape = Shape { key: 4, values: 1, shards: 1 };
    table.words[end].store(shape.length(end) as u64, Ordering::Release);
    let two = other(&table);
    add(&two, "behind", 2);
    add(&table, "behind", 3);
    assert_eq!((value(&table, "before"), value(&table, "behind")), (Some(1), Some(5)));
    assert_eq!(table.all().len(), 2, "the gap is no series");
    // It was only slow.
    table.words[end + 1].store(shape.pack(), Ordering::Relaxed);
    table.words[end + 2].store(u64::from_le_bytes(*b"slow\0\0\0\0"), Ordering::Relaxed);
    table.words[end].store(shape.length(end) as u64 | COMPLETE, Ordering::Release);
    assert_eq!(value(&two, "slow"), Some(0));
}

#[test]
fn series_that_two_processes_add_at_once_are_summed() {
    let table = Table::create().unwrap();
    let two = other(&table);
    // Both have looked, and have not found it.
    for mapped in [&table, &two] {
        let mut end = HEADER;
        while let Some(length) = mapped.length(end) {
            end += length;
        }
        assert!(matches!(mapped.append(end, b"twin", ONE), Appended::Record));
    }
    add(&table, "twin", 1);
    add(&two, "twin", 1);
    assert_eq!((value(&table, "twin"), value(&two, "twin")), (Some(2), Some(2)));
}

#[test]
fn a_full_table_loses_new_series_and_counts_them() {
    let table = Table::create_with(256).unwrap();
    let slots = (0..100).filter(|key| table.slot(format!("key {key}").as_bytes(), ONE).is_some()).count();
    assert!((20..100).contains(&slots), "{slots}");
    assert_eq!(table.lost(), 100 - slots as u64);
    assert_eq!(other(&table).lost(), 100 - slots as u64);
    add(&table, "key 0", 7);
    assert_eq!(value(&table, "key 0"), Some(7), "what has its place goes on");
}

#[test]
fn threads_add_to_shards_of_their_own() {
    let table = Table::create().unwrap();
    let slot = table.slot(b"hot", Layout::Sharded { values: 16 }).unwrap();
    assert!((&raw const slot.values[0]).addr().is_multiple_of(LINE * 8));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| slot.mine()[15].fetch_add(1, Ordering::Relaxed));
        }
    });
    let (_, values) = &other(&table).all()[0];
    assert_eq!((values.len(), values[0], values[15]), (16, 0, 16));
}

#[test]
fn what_is_no_table_of_this_version_is_not_adopted() {
    let file = sys::create_shared(NAME, WORDS).unwrap();
    assert!(Table::adopt(file).unwrap_err().to_string().contains("no table"));
    let table = Table::create().unwrap();
    table.words[1].store(VERSION + 1, Ordering::Relaxed);
    let error = Table::adopt(table.file().try_clone_to_owned().unwrap()).unwrap_err();
    assert!(error.to_string().contains("version 2"), "{error}");
}

#[test]
fn records_that_make_no_sense_end_nothing() {
    for nonsense in [1, 2, 1 << 40, COMPLETE | 3, COMPLETE | 20, u64::MAX] {
        let table = Table::create().unwrap();
        table.words[HEADER].store(nonsense, Ordering::Relaxed);
        table.words[HEADER + 1].store(u64::MAX, Ordering::Relaxed);
        assert!(table.all().is_empty(), "{nonsense:x}");
    }
}

/// The child's part in the following test.
const FILE: &str = "GRACEHTTP_TEST_TABLE";

#[test]
fn another_process_adds_to_it() {
    use std::os::fd::AsRawFd as _;
    if let Ok(path) = std::env::var(FILE) {
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let table = Table::adopt(file.into()).unwrap();
        (0..1000).for_each(|round| add(&table, &format!("key {}", round % 10), 1));
        return;
    }
    let table = Table::create().unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), table.file().as_raw_fd());
    let test = std::thread::current().name().unwrap().to_owned();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture"])
        .env(FILE, path)
        .spawn()
        .unwrap();
    (0..1000).for_each(|round| add(&table, &format!("key {}", round % 10), 1));
    assert!(child.wait().unwrap().success());
    let all = table.all();
    assert_eq!(all.len(), 10);
    assert!(all.iter().all(|(_, values)| values[0] == 200), "{all:?}");
}
