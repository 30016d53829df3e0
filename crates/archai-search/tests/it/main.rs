//! Tests of archai-search as its users see it.

mod spaces;
