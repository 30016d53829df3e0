//! The open list that algorithms, formats, spaces and the like are kept in.

use archai_spec::registry::{Named, Registry};
use std::sync::Arc;

trait Greeter: Named {
    fn greet(&self) -> String;
}

struct Polite(&'static str, &'static str);

impl Named for Polite {
    fn name(&self) -> &str {
        self.0
    }
    fn about(&self) -> &str {
        "a polite one"
    }
}

impl Greeter for Polite {
    fn greet(&self) -> String {
        self.1.to_string()
    }
}

fn greeters() -> Registry<dyn Greeter> {
    Registry::<dyn Greeter>::new("greeter")
        .with(Arc::new(Polite("english", "hello")))
        .with(Arc::new(Polite("german", "guten Tag")))
}

#[test]
fn items_are_found_by_name_and_keep_their_order() {
    let greeters = greeters();
    assert_eq!(greeters.names().collect::<Vec<_>>(), ["english", "german"]);
    assert_eq!(greeters.get("german").unwrap().greet(), "guten Tag");
    assert_eq!(
        greeters.get("germn").err().unwrap().to_string(),
        "there is no greeter `germn`; did you mean `german`? known are english, german"
    );
    assert_eq!((greeters.len(), greeters.is_empty()), (2, false));
    assert_eq!(
        format!("{greeters:?}"),
        r#"Registry of greeter ["english", "german"]"#
    );
}

#[test]
fn a_second_item_of_a_name_is_an_error_unless_it_is_meant() {
    let mut list = greeters();
    let error = list
        .register(Arc::new(Polite("english", "hi")))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is a greeter named `english` already; choose another name"
    );
    assert_eq!(list.get("english").unwrap().greet(), "hello");
    list.register(Arc::new(Polite("french", "bonjour")))
        .unwrap();

    // `with` says "this one": it replaces in place, and a clone taken before keeps what it had.
    let replaced = list.clone().with(Arc::new(Polite("english", "hi")));
    assert_eq!(
        replaced.names().collect::<Vec<_>>(),
        ["english", "german", "french"]
    );
    assert_eq!(replaced.get("english").unwrap().greet(), "hi");
    assert_eq!(list.get("english").unwrap().greet(), "hello");
}
