//! A small database of countries in the MMDB format, made for a test. The format: maxmind.github.io/MaxMind-DB.

use std::net::IpAddr;

/// Bits of an IPv4 address come behind so many zeros.
const V4: u32 = 96;

/// The bytes of a database: networks as `(address, prefix length, country)`.
pub fn countries(networks: &[(&str, u32, &str)]) -> Vec<u8> {
    // A node has two branches; a branch is nothing, another node, or a place in the data.
    let mut nodes: Vec<[Branch; 2]> = vec![[Branch::Nothing; 2]];
    let mut data = Vec::new();
    for (address, length, country) in networks {
        let (bits, length) = match address.parse().expect("an address") {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()), V4 + length),
            IpAddr::V6(v6) => (v6.to_bits(), *length),
        };
        let offset = data.len() as u32;
        data.extend([map(1), text("country"), map(1), text("iso_code"), text(country)].concat());
        let mut node = 0;
        for depth in 0..length {
            let side = usize::from(bits >> (127 - depth) & 1 == 1);
            if depth + 1 == length {
                nodes[node][side] = Branch::Data(offset);
            } else if let Branch::Node(next) = nodes[node][side] {
                node = next;
            } else {
                nodes.push([Branch::Nothing; 2]);
                let next = nodes.len() - 1;
                nodes[node][side] = Branch::Node(next);
                node = next;
            }
        }
    }
    let count = nodes.len() as u32;
    let mut bytes = Vec::new();
    for branch in nodes.iter().flatten() {
        let record = match branch {
            Branch::Nothing => count,
            Branch::Node(node) => *node as u32,
            Branch::Data(offset) => count + 16 + offset,
        };
        bytes.extend(&record.to_be_bytes()[1..]);
    }
    bytes.extend([0; 16]);
    bytes.extend(data);
    bytes.extend(b"\xab\xcd\xefMaxMind.com");
    bytes.extend(metadata(count));
    bytes
}

#[derive(Clone, Copy)]
enum Branch {
    Nothing,
    Node(usize),
    Data(u32),
}

fn metadata(nodes: u32) -> Vec<u8> {
    let short = |number: u8| vec![0xa1, number];
    let long = [vec![0xc4], nodes.to_be_bytes().to_vec()].concat();
    let fields = [
        ("binary_format_major_version", short(2)),
        ("binary_format_minor_version", short(0)),
        ("build_epoch", vec![0x01, 0x02, 1]),
        ("database_type", text("Test-Country")),
        ("description", map(0)),
        ("ip_version", short(6)),
        ("languages", vec![0x00, 0x04]),
        ("node_count", long),
        ("record_size", short(24)),
    ];
    let body = fields.iter().flat_map(|(name, value)| [text(name), value.clone()].concat());
    [map(fields.len() as u8)].concat().into_iter().chain(body).collect()
}

fn map(count: u8) -> Vec<u8> {
    vec![0xe0 | count]
}

fn text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short text");
    assert!(length < 29);
    [vec![0x40 | length], text.as_bytes().to_vec()].concat()
}
