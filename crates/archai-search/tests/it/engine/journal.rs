use archai_search::journal::{Event, FileStore, JournalError, Store, read};

fn events() -> Vec<Event> {
    vec![
        Event::Session { budget: Some(3) },
        Event::Started { job: 0, attempt: 0 },
        Event::Finished {
            job: 0,
            epochs: 1,
            values: [("loss".to_string(), 0.1 + 0.2)].into(),
            seconds: 1.5,
            verdict: Default::default(),
        },
    ]
}

fn written(path: &std::path::Path) -> Vec<u8> {
    let mut store = FileStore::open(path).unwrap();
    assert_eq!(store.load().unwrap(), []);
    for event in events() {
        store.append(&event).unwrap();
    }
    std::fs::read(path).unwrap()
}

#[test]
fn events_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    written(&path);
    assert_eq!(read(&path).unwrap(), events());
}

#[test]
fn a_torn_last_line_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let whole = written(&path);
    let ends: Vec<usize> = (0..whole.len())
        .filter(|i| whole[*i] == b'\n')
        .map(|i| i + 1)
        .collect();
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let kept = ends.iter().filter(|end| **end <= length).count();
        let mut store = FileStore::open(&path).unwrap();
        assert_eq!(store.load().unwrap(), events()[..kept], "{length} bytes");
        for event in &events()[kept..] {
            store.append(event).unwrap();
        }
        assert_eq!(std::fs::read(&path).unwrap(), whole, "{length} bytes");
    }
}

#[test]
fn damage_in_the_middle_is_an_error_that_names_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let whole = written(&path);
    for at in 0..whole.len() - 1 {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let line = 1 + whole[..at].iter().filter(|b| **b == b'\n').count();
        let error = FileStore::open(&path).unwrap().load().unwrap_err();
        match error {
            JournalError::Damaged { line: found, .. } => assert_eq!(found, line, "byte {at}"),
            other => panic!("byte {at}: {other}"),
        }
    }
    // A line that is missing is noticed at the next one.
    let text = String::from_utf8(whole).unwrap();
    let without: Vec<&str> = text
        .split_inclusive('\n')
        .enumerate()
        .filter(|(i, _)| *i != 1)
        .map(|l| l.1)
        .collect();
    std::fs::write(&path, without.concat()).unwrap();
    let error = read(&path).unwrap_err().to_string();
    assert!(
        error.contains("line 2") && error.contains("restore the file"),
        "{error}"
    );
}

#[test]
fn two_writers_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let _first = FileStore::open(&path).unwrap();
    let error = FileStore::open(&path).unwrap_err();
    assert!(matches!(error, JournalError::Busy { .. }), "{error}");
}
