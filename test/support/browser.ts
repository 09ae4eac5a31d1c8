import { execFile, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { inflateSync } from 'node:zlib'

export interface Page {
  /** The document after its scripts have run. */
  readonly dom: string
  /** Lines that scripts wrote to the console, errors among them. */
  readonly console: readonly string[]
  /** How many colours a screenshot has. */
  readonly colors: number
}

/** Why no page can be opened here; undefined where one can. */
export function whyNoBrowser(): string | undefined {
  const found = spawnSync('chromium', ['--version'], { encoding: 'utf8' })
  return found.status === 0 ? undefined : 'no chromium here: apt-get install chromium'
}

/** Opens a page in a headless Chromium without network and with a profile of its own. */
export async function openPage(url: string, dark = false): Promise<Page> {
  const directory = mkdtempSync(join(tmpdir(), 'twill-browser-'))
  try {
    const shot = join(directory, 'page.png')
    const run = (...flags: string[]) =>
      promisify(execFile)('chromium', [...common, ...flags, `--user-data-dir=${directory}/profile`, url], {
        encoding: 'utf8',
        maxBuffer: 256 * 1024 * 1024,
        timeout: 240_000,
      })
    const scheme = `--blink-settings=preferredColorScheme=${dark ? 0 : 1}`
    const { stdout, stderr } = await run(scheme, '--dump-dom')
    await run(scheme, `--screenshot=${shot}`)
    // Chromium's own pages write to stderr too.
    const console = stderr.split('\n').filter(line => line.includes('CONSOLE') && line.includes(url))
    return { dom: stdout, console, colors: countColors(readFileSync(shot)) }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

const common = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--enable-logging=stderr',
  '--window-size=1300,900',
  '--virtual-time-budget=12000',
]

/**
 * Counts distinct pixels of a PNG, in its filtered rows: a blank page has a handful. PNG (RFC 2083), 2 and 3.
 */
function countColors(png: Buffer): number {
  const data: Buffer[] = []
  let width = 0
  let bytesPerPixel = 4
  for (let at = 8; at < png.length; ) {
    const length = png.readUInt32BE(at)
    const type = png.toString('latin1', at + 4, at + 8)
    const body = png.subarray(at + 8, at + 8 + length)
    if (type === 'IHDR') {
      width = body.readUInt32BE(0)
      bytesPerPixel = body.readUInt8(9) === 2 ? 3 : 4
    }
    if (type === 'IDAT') data.push(body)
    at += length + 12
  }
  const raw = inflateSync(Buffer.concat(data))
  const stride = width * bytesPerPixel + 1
  const seen = new Set<string>()
  for (let row = 0; row * stride < raw.length; row++)
    for (let x = 1; x + bytesPerPixel <= stride; x += bytesPerPixel)
      seen.add(raw.toString('hex', row * stride + x, row * stride + x + bytesPerPixel))
  return seen.size
}
