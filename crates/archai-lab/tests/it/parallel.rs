//! Several experiments in one process.

use archai_lab::{Lab, NoObserver};

use crate::support::{all_digests, tiny};

#[test]
fn two_experiments_at_once_give_the_same_bytes_as_one_after_the_other() {
    let (one_by_one, at_once) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let lab = Lab::builtin();
    let runs = [["darts"], ["random"]];
    for names in &runs {
        let request = tiny(names, one_by_one.path());
        let outcomes = lab.run(&request, &NoObserver).unwrap();
        assert!(outcomes[0].eval.as_ref().unwrap().test_top1.is_some());
    }
    std::thread::scope(|scope| {
        let threads = runs.each_ref().map(|names| {
            let request = tiny(names, at_once.path());
            let lab = &lab;
            scope.spawn(move || lab.run(&request, &NoObserver).map(drop))
        });
        for thread in threads {
            thread.join().unwrap().unwrap();
        }
    });
    let expect = all_digests(one_by_one.path());
    assert_eq!(expect.len(), 4, "{:?}", expect.keys());
    assert_eq!(all_digests(at_once.path()), expect);
}
