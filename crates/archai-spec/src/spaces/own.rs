//! The space that an algorithm brings as a builder alone.

use crate::desc::ModelDescBuilder;
use crate::finalize::NodeRule;
use crate::registry::Named;
use crate::settings::OWN_SPACE;

use super::Space;

/// A space of which nothing but the builder is special: the mixed edges of its supernet are the choices.
pub struct OwnSpace {
    builder: Box<dyn ModelDescBuilder>,
    rule: NodeRule,
}

impl OwnSpace {
    /// The space that a builder spans, with the rule of DARTS.
    pub fn new(builder: Box<dyn ModelDescBuilder>) -> Self {
        OwnSpace {
            builder,
            rule: NodeRule::default(),
        }
    }

    /// The same with another rule.
    #[must_use]
    pub fn with_rule(mut self, rule: NodeRule) -> Self {
        self.rule = rule;
        self
    }
}

impl Named for OwnSpace {
    fn name(&self) -> &str {
        OWN_SPACE
    }
    fn about(&self) -> &str {
        "the algorithm's own space"
    }
}

impl Space for OwnSpace {
    fn builder(&self) -> &dyn ModelDescBuilder {
        self.builder.as_ref()
    }
    fn rule(&self) -> NodeRule {
        self.rule
    }
}
