import { FirewallError, type RunCommand, refusal } from './command.ts'

/** nft's listing of a table, named as `ip flannel-ipv4`; undefined: there is none. Throws FirewallError. */
export async function listTable(
  run: RunCommand,
  table: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const output = await run(['nft', 'list', 'table', ...table.split(' ')], '', signal)
  if (output === 'missing') throw missing()
  if (output.code === 0) return output.stdout
  if (output.stderr.includes('No such file or directory')) return undefined
  throw refusal(`Cannot read nft table ${table}`, output)
}

/** Runs all commands of `text` in one transaction. Throws FirewallError. */
export async function runNft(run: RunCommand, text: string, signal: AbortSignal): Promise<void> {
  const output = await run(['nft', '-f', '-'], text, signal)
  if (output === 'missing') throw missing()
  if (output.code !== 0) throw refusal('Cannot change rules by nft', output)
}

/** Commands that delete the table, and succeed where it does not exist: nft 1.0.6 has no `destroy` yet. */
export function withoutTable(table: string): string {
  return `add table ${table}\ndelete table ${table}\n`
}

function missing(): FirewallError {
  return new FirewallError(
    'nft is not installed: install nftables, or switch off what asks for it (EnableNFTables in the network config, --tunnel-filter)',
  )
}
