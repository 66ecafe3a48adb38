//! What may stand in the lists of keys. The library checks the same at the start.

use std::net::IpAddr;

/// Addresses and networks.
pub(super) fn networks(list: &[String]) -> Result<(), (usize, String)> {
    let faults = list.iter().map(|text| network(text));
    faults.enumerate().find_map(|(place, fault)| Some((place, fault?))).map_or(Ok(()), Err)
}

fn network(text: &str) -> Option<String> {
    let (ip, bits) = text.split_once('/').map_or((text, None), |(ip, bits)| (ip, Some(bits)));
    let Ok(ip) = ip.parse::<IpAddr>() else {
        let message =
            "is no network\nhelp: valid is an address or a network, such as `10.0.0.0/8` or `::1`, or `unix`";
        return (text != "unix").then(|| format!("`{text}` {message}"));
    };
    let most: u32 = if ip.is_ipv4() { 32 } else { 128 };
    let bits = match bits.map(|bits| (bits.bytes().all(|byte| byte.is_ascii_digit()), bits.parse::<u32>())) {
        None => most,
        Some((true, Ok(bits))) if bits <= most => bits,
        Some(_) => return Some(format!("a network of this kind has 0 to {most} bits behind its `/`")),
    };
    if ip.to_canonical() != ip {
        return Some(format!("an IPv4 address is written as such, `{}`", ip.to_canonical()));
    }
    let first = match ip {
        IpAddr::V4(ip) => IpAddr::V4((ip.to_bits() & u32::MAX.checked_shl(32 - bits).unwrap_or(0)).into()),
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & u128::MAX.checked_shl(128 - bits).unwrap_or(0)).into()),
    };
    (first != ip).then(|| format!("the network that contains `{ip}` is `{first}/{bits}`"))
}

/// The header fields of proxies.
pub(super) fn fields(list: &[String]) -> Result<(), (usize, String)> {
    const X: [&str; 3] = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];
    for (place, name) in list.iter().enumerate() {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        let fault = match () {
            () if !is("forwarded") && !X.iter().any(|known| is(known)) => {
                let known = X.map(|name| format!("`{name}`")).join(", ");
                format!("`{name}` is none of the fields that are known\nhelp: valid are {known}, or `forwarded`")
            }
            () if list[..place].iter().any(|earlier| is(earlier)) => format!("`{name}` is listed twice"),
            () if list.len() > 1 && is("forwarded") => {
                "`forwarded` stands alone: of both kinds a proxy sets one, and its clients could send the other".to_owned()
            }
            () => continue,
        };
        return Err((place, fault));
    }
    Ok(())
}
