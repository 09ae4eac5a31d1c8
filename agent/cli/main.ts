import { endProcess, endWhereOutputFails } from '../runtime/end_process.ts'
import { run } from './program.ts'

// Node's own remarks are for developers; by default they are printed.
process.removeAllListeners('warning')
endWhereOutputFails('twill')
await endProcess('twill', await run(process.argv.slice(2), process.env, process.stdout, process.stderr))
