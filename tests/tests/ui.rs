//! What the attributes say to those who use them wrongly.
//!
//! `TRYBUILD=overwrite cargo test -p tests --test ui` writes the expected messages anew.

#[test]
fn faults_are_explained_where_they_are() {
    trybuild::TestCases::new().compile_fail("ui/*.rs");
}
