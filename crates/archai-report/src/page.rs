//! The page around what is shown: one file without anything from elsewhere, which says so to the browser.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("style.css");
/// The slider over drawings and the switch between light and dark; without it all pictures are there.
pub const SCRIPT: &str = include_str!("page.js");

/// The style of all pages.
pub fn style() -> String {
    format!("{STYLE}{}", crate::cells::style())
}

/// A section of a page.
pub struct Section {
    /// Its anchor.
    pub id: &'static str,
    /// Its title.
    pub title: &'static str,
    /// What stands in it.
    pub body: Markup,
}

/// What a card says: an answer, how good it is, and the reasons.
pub struct Card {
    /// The question.
    pub question: &'static str,
    /// The answer.
    pub answer: String,
    /// How it is to be taken.
    pub tone: Tone,
    /// What else is to be said, in sentences.
    pub reasons: Vec<Markup>,
}

/// How an answer is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As a fact.
    Plain,
    /// As good.
    Good,
    /// With care.
    Warn,
    /// As bad.
    Bad,
}

impl Card {
    /// The card.
    pub fn draw(&self) -> Markup {
        let class = match self.tone {
            Tone::Plain => "card",
            Tone::Good => "card good",
            Tone::Warn => "card warn",
            Tone::Bad => "card bad",
        };
        html! {
            div class=(class) {
                h2 { (self.question) }
                p.big { (self.answer) }
                @for reason in &self.reasons { p { (reason) } }
            }
        }
    }
}

/// A whole page. `data` are the numbers of the records that it shows, for programs.
pub fn page(
    title: &str,
    below: Markup,
    intro: Markup,
    sections: Vec<Section>,
    data: &Value,
) -> String {
    let hash = STANDARD.encode(Sha256::digest(SCRIPT.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'"
    );
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                title { (title) }
                style { (PreEscaped(style())) }
            }
            body {
                header {
                    div {
                        h1 { (title) }
                        (below)
                        nav aria-label="Sections" {
                            ul { @for s in &sections { li { a href={ "#" (s.id) } { (s.title) } } } }
                        }
                    }
                    button #theme type="button" hidden { "Light or dark" }
                }
                main {
                    (intro)
                    @for s in &sections {
                        section id=(s.id) { h2 { (s.title) } (s.body) }
                    }
                }
                footer { "Made by archai; the page needs nothing from elsewhere." }
                script type="application/json" id="data" { (PreEscaped(embedded(data))) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// JSON that can stand in a page: nothing in it ends the element or begins a comment.
fn embedded(data: &Value) -> String {
    data.to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
}

/// A table of names and values.
pub fn facts(label: &str, rows: &[(String, Markup)]) -> Markup {
    let table = html! {
        table { tbody {
            @for (name, value) in rows { tr { th scope="row" { (name) } td { (value) } } }
        } }
    };
    scrolled(label, table)
}

/// What may be wider than a page: it scrolls within itself, by the keyboard too.
pub fn scrolled(label: &str, body: Markup) -> Markup {
    html! {
        div.table tabindex="0" role="group" aria-label=(label) { (body) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_cannot_leave_their_element() {
        let data = serde_json::json!({ "text": "</script><script>alert(1)</script><!--" });
        let text = page("t", html! {}, html! {}, Vec::new(), &data);
        assert_eq!(text.matches("</script>").count(), 2, "{text}");
        let from = text.split_once("id=\"data\">").unwrap().1;
        let back: Value = serde_json::from_str(from.split_once("</script>").unwrap().0).unwrap();
        assert_eq!(back, data);
    }
}
