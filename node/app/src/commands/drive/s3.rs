//! `s3 …`: where the S3 interface is, and its keys.
//!
//! Invariant: a secret is printed once, to whoever had it made.

use anyhow::Result;
use commonhold_client::Client;
use zeroize::Zeroize;

use super::{confirm, shown, time};
use crate::cli::drive::{S3, S3Key};
use crate::commands::print_json;

const OFF: &str = "the S3 interface is off: set `listen` under [s3] in commonhold.toml";

/// `s3 …`; without more, where it is and how to use it.
pub async fn s3(client: &Client, command: Option<S3>, json: bool) -> Result<()> {
    match command {
        None => about(client, json).await,
        Some(S3::Key(S3Key::New { name })) => {
            let mut made = client.new_s3_key(&name).await?;
            let printed = if json {
                print_json(&made)
            } else {
                println!("AWS_ACCESS_KEY_ID={}", made.key.access_key);
                println!("AWS_SECRET_ACCESS_KEY={}", made.secret_key);
                match &made.endpoint {
                    Some(endpoint) => println!("AWS_ENDPOINT_URL={endpoint}"),
                    None => eprintln!("note: {OFF}"),
                }
                eprintln!("The secret is not shown again.");
                Ok(())
            };
            made.secret_key.zeroize();
            printed
        }
        Some(S3::Key(S3Key::List)) => {
            let view = client.s3_keys().await?;
            if json {
                return print_json(&view);
            }
            for key in &view.keys {
                println!("{}  {}  {}", shown(&key.access_key), time(key.created_ms), shown(&key.name));
            }
            if view.keys.is_empty() {
                println!("there are no keys: make one with `s3 key new`");
            }
            Ok(())
        }
        Some(S3::Key(S3Key::Remove { access_key, yes })) => {
            confirm(&format!("The key {} will let nobody in any more.", shown(&access_key)), yes)?;
            let key = client.remove_s3_key(&access_key).await?;
            if json {
                return print_json(&key);
            }
            println!("removed {}", shown(&key.access_key));
            Ok(())
        }
    }
}

async fn about(client: &Client, json: bool) -> Result<()> {
    let view = client.s3_keys().await?;
    if json {
        return print_json(&view);
    }
    match &view.endpoint {
        Some(endpoint) => {
            println!("S3 interface  {endpoint}, path style; a bucket is a folder at the drive's root")
        }
        None => println!("{OFF}"),
    }
    println!(
        "keys          {}{}",
        view.keys.len(),
        if view.keys.is_empty() { ": make one with `s3 key new`" } else { "" }
    );
    Ok(())
}
