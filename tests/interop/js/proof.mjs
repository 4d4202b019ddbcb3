// Checks what a node says, with nothing but SHA3-256 and MessagePack. Written from docs/protocol.md.
import { decode, encode } from '@msgpack/msgpack'
import { sha3_256 } from '@noble/hashes/sha3.js'
import { bytesToHex as hex, concatBytes as concat, utf8ToBytes as utf8 } from '@noble/hashes/utils.js'
import { bech32m } from '@scure/base'

const PAGE_RECORDS = 32
const ENTRY = 64 // bytes of an entry in a page: place, digest of the value
const NODE = 16 * 32 + 16 * 4 // bytes of an inner node: digests, then record counts
const FIELDS = [
  'version', 'chainId', 'height', 'time', 'proposer', 'previous', 'lastCommitHash', 'transactionsRoot', 'stateRoot',
  'receiptsRoot', 'validatorsHash', 'nextValidatorsHash', 'evidenceRoot', 'beacon'
]

export class Wrong extends Error {}

export function need (condition, why) {
  if (!condition) throw new Wrong(why)
}

/** H(label, data): SHA3-256 over the label's length, the label, and the data. */
export function digest (label, data) {
  const text = utf8(`nexus/${label}/1`)
  return sha3_256(concat(Uint8Array.of(text.length), text, data))
}

export const same = (one, other) => hex(one) === hex(other)

/** Returns the value of MessagePack bytes in their one canonical form. */
export function unpack (raw) {
  const value = decode(raw, { useBigInt64: true })
  need(same(encode(value, { useBigInt64: true }), raw), 'the bytes are not in canonical form')
  return value
}

/** Returns a header's fields and its id, which is the block's. */
export function header (raw) {
  const values = unpack(raw)
  need(Array.isArray(values) && values.length === FIELDS.length, 'this is no header')
  return { ...Object.fromEntries(FIELDS.map((name, index) => [name, values[index]])), id: digest('block', raw) }
}

/** Returns the raw key of the record that holds an account's native balance. */
export function balanceKey (address) {
  const { prefix, words } = bech32m.decode(address)
  need(prefix === 'nx', 'an address begins with nx1')
  return concat(utf8('token/balance/'), bech32m.fromWords(words))
}

/** Returns a record's value, or null if the proof shows that there is none. Throws Wrong. */
export function record (root, rawKey, proof) {
  const [held, page, nodes] = unpack(proof)
  need(nodes.length >= 1 && nodes.length <= 64, 'a proof has 1 to 64 inner nodes')
  const key = digest('state-key', rawKey)
  const path = hex(key)
  let expected = root
  let count = null
  nodes.forEach((node, depth) => {
    need(node.length === NODE, 'an inner node has another size')
    need(same(digest('state-node', node), expected), `the inner node at depth ${depth} has another digest`)
    const view = new DataView(node.buffer, node.byteOffset + 512, 64)
    const counts = Array.from({ length: 16 }, (_, child) => view.getUint32(4 * child))
    const total = counts.reduce((sum, one) => sum + one, 0)
    need(depth === 0 || (total === count && count > PAGE_RECORDS), `wrong count at depth ${depth}`)
    const child = parseInt(path[depth], 16)
    expected = node.subarray(32 * child, 32 * child + 32)
    count = counts[child]
  })
  need(count <= PAGE_RECORDS && page.length === count * ENTRY, 'the page has a wrong count')
  need(same(page.length ? digest('state-page', page) : new Uint8Array(32), expected), 'the page has another digest')
  let leaf = null
  let last = ''
  for (let at = 0; at < page.length; at += ENTRY) {
    const place = hex(page.subarray(at, at + 32))
    need(place.startsWith(path.slice(0, nodes.length)), 'an entry lies outside its page')
    need(place > last, 'the entries are not in order')
    if (place === path) leaf = page.subarray(at + 32, at + ENTRY)
    last = place
  }
  if (held.length === 0) {
    need(leaf === null, 'the record exists, but its value is missing')
    return null
  }
  need(leaf !== null && same(leaf, digest('state-leaf', held[0])), 'the value is not the one in the page')
  return held[0]
}
