// The driver's side of the contract of ../README.md.
import { createInterface } from 'node:readline'

export const decode = text => (text === null ? null : Buffer.from(text, 'base64'))
export const encode = data => (data === null || data === undefined ? null : data.toString('base64'))

export function say (line) {
  process.stdout.write(JSON.stringify(line) + '\n')
}

// Answers every request on stdin, one after the other.
export async function serve (verbs) {
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line)
    try {
      await verbs[request.verb](request)
      say({ done: true })
    } catch (error) {
      say({ error: [error, error.cause, ...(error.errors ?? [])].join('; ') })
    }
  }
  process.exit(0) // connections that a library left open would keep the process
}
