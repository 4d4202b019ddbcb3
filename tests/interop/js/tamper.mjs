// Reads {root, key, proof, value, header, id} as hexadecimal JSON from stdin, checks that the proof and the header hold,
// and that no copy of either with one flipped bit does. Prints how many were refused.
import './node20.mjs'
import { readFileSync } from 'node:fs'
import { header, need, record, same } from './proof.mjs'

const { root, key, proof, value, header: above, id } = Object.fromEntries(
  Object.entries(JSON.parse(readFileSync(0, 'utf8'))).map(([name, text]) => [name, Uint8Array.from(Buffer.from(text, 'hex'))])
)
need(same(record(root, key, proof), value), 'the proof does not hold')
need(same(header(above).id, id), 'the header does not hold')

let refused = 0
function tampered (bytes, holds) {
  for (let at = 0; at < bytes.length; at++) {
    const copy = bytes.slice()
    copy[at] ^= 1 << (at % 8)
    try {
      need(!holds(copy), `byte ${at} does not count`)
    } catch (error) {
      if (error.message === `byte ${at} does not count`) throw error
    }
    refused++
  }
}
tampered(proof, copy => { record(root, key, copy); return true })
tampered(above, copy => same(header(copy).id, id))
console.log(JSON.stringify({ refused }))
