//! Picks the program by the name it is called under.
fn main() {}
