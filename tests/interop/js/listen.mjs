// node listen.mjs MULTIADDR NX1... [BLOCKS]
//
// A peer of stock libp2p. It dials a node's open listener over QUIC, pings it, hears what it is, follows block
// announcements, and asks for the balance of an account: the balance is checked against the state root of a header, and
// the header against the id that was announced. It prints what it found as one line of JSON.
//
// What it takes on trust is the announcement alone: who signed the block is a matter of Falcon signatures, which a full
// light client checks (docs/light-client.md).
import './node20.mjs'
import { quic } from '@chainsafe/libp2p-quic'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { lpStream } from '@libp2p/utils'
import { multiaddr } from '@multiformats/multiaddr'
import { bytesToHex as hex } from '@noble/hashes/utils.js'
import { createLibp2p } from 'libp2p'
import { balanceKey, header, need, record, same, unpack } from './proof.mjs'

const TOPIC = '/nexus/open/blocks/1'
const PROTOCOL = '/nexus/proof/1'
const [address, account, count = '3'] = process.argv.slice(2)

const peer = await createLibp2p({
  addresses: { listen: [] },
  transports: [quic()],
  services: { identify: identify(), ping: ping(), pubsub: gossipsub() }
})
const known = new Promise(resolve => peer.addEventListener('peer:identify', event => resolve(event.detail)))

/** Asks one question of the API's table; returns its answer. */
async function ask (method, params) {
  const stream = lpStream(await peer.dialProtocol(multiaddr(address), PROTOCOL))
  await stream.write(new TextEncoder().encode(JSON.stringify({ method, params })))
  const answer = JSON.parse(new TextDecoder().decode((await stream.read()).subarray()))
  need(answer.error === undefined, `${method}: ${answer.error?.reason}: ${answer.error?.detail}`)
  return answer.result
}

/** Returns the header of a height, checked only for being one. */
async function headerAt (height) {
  const { headers } = await ask('headers', { first: String(height), limit: 1 })
  return header(Buffer.from(headers[0], 'base64'))
}

/** Waits for so many announced blocks; returns them by rising height. */
function follow (blocks) {
  const found = new Map()
  return new Promise(resolve => {
    peer.services.pubsub.addEventListener('message', ({ detail }) => {
      if (detail.topic !== TOPIC) return
      const [chainId, height, id, time] = unpack(detail.data)
      found.set(Number(height), { chainId, height: Number(height), id, time: Number(time) })
      if (found.size === blocks) resolve([...found.values()].sort((one, other) => one.height - other.height))
    })
    peer.services.pubsub.subscribe(TOPIC)
  })
}

try {
  const following = follow(Number(count))
  await peer.dial(multiaddr(address))
  const { agentVersion, protocols } = await known
  const roundTrip = await peer.services.ping.ping(multiaddr(address))
  const blocks = await following
  for (const block of blocks) {
    const said = await headerAt(block.height)
    need(same(said.id, block.id) && same(said.chainId, block.chainId), `header ${block.height} is not the announced one`)
  }
  // The state after a block stands in the header above it.
  const newest = await headerAt(blocks.at(-1).height)
  const height = Number(newest.height) - 1
  const key = balanceKey(account)
  const { proof } = await ask('proof', { key: hex(key), height: String(height) })
  const value = record(newest.stateRoot, key, Buffer.from(proof, 'base64'))
  const balance = String(value === null ? 0 : unpack(value))
  console.log(JSON.stringify({
    agent: agentVersion, protocols, roundTrip, height, balance,
    blocks: blocks.map(block => ({ height: block.height, id: hex(block.id), time: block.time }))
  }))
} catch (error) {
  console.error(`${error.name}: ${error.message}`)
  process.exitCode = 1
} finally {
  await peer.stop()
}
