//! Writes every page with sample data into a directory, to be looked at in a browser.

mod samples;

use std::error::Error;
use std::path::Path;
use std::{env, fs};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = env::args().nth(1).ok_or("usage: pages DIRECTORY")?;
    let directory = Path::new(&directory);
    fs::create_dir_all(directory)?;
    let site = samples::site(str::to_owned);
    for (name, page) in samples::pages(str::to_owned) {
        let body = page.response(&site).into_body();
        let html = axum::body::to_bytes(body, usize::MAX).await?;
        fs::write(directory.join(name).with_extension("html"), html)?;
    }
    Ok(())
}
