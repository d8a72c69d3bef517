// The steps of a scenario: each prints one line, and one that fails does not end the others.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'

export const PARTITIONS = 4
export const RECORDS = 100
export const FIRST_TIMESTAMP_MS = 1_700_000_000_000
export const PATIENCE_MS = 40_000
export const REPETITIVE = 'the same again and again; '.repeat(40)

let failed = 0

/** Run one step; what it throws is printed and goes no further. */
export async function step (name, work) {
  let timer
  const late = new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Error('not done in time')), PATIENCE_MS + 20_000)
  })
  try {
    await Promise.race([work(), late])
    console.log(`ok ${name}`)
  } catch (error) {
    failed++
    console.log(`not ok ${name}: ${String(error.message ?? error).replaceAll('\n', ' ')}`)
    console.error(error)
  } finally {
    clearTimeout(timer)
  }
}

/** Tell that the client cannot do this. */
export function skip (name, why) {
  console.log(`ok ${name} # SKIP ${why}`)
}

/** End the program with the status of its steps. */
export function finish () {
  process.exit(failed ? 1 : 0)
}

/** A name for a topic or a group that nobody has used. */
export function newName (client) {
  return `${client}-${randomUUID()}`
}

/** Wait until a condition holds. */
export async function until (holds, otherwise) {
  const deadline = Date.now() + PATIENCE_MS
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(otherwise())
    await sleep(50)
  }
}

/** Fail unless both are the same when written as JSON. */
export function same (found, expected, what) {
  const [a, b] = [JSON.stringify(found), JSON.stringify(expected)]
  if (a !== b) throw new Error(`${what} is ${a}, not ${b}`)
}
