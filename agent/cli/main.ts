import { run } from './program.ts'

// `twill map | head` closes the pipe early; that is no error of ours.
process.stdout.on('error', () => process.exit(0))
process.exit(await run(process.argv.slice(2), process.env, process.stdout, process.stderr))
