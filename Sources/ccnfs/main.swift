import Commands

await CCNFS.runTool()
