//! The messages of the attributes for users who use them wrongly.
//!
//! `TRYBUILD=overwrite cargo test -p tests --test ui` rewrites the expected messages.

#[test]
fn compile_error_explains_the_fault_at_its_place() {
    trybuild::TestCases::new().compile_fail("ui/*.rs");
}
