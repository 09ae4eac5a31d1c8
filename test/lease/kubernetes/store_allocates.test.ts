/** The suite once more, on a cluster whose kube-controller-manager assigns podCIDRs: --allocate-node-cidrs. */
process.env.TWILL_TEST_ALLOCATES = 'yes'
await import('./store.test.ts')
