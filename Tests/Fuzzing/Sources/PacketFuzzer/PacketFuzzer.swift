import CCNx

/// What libFuzzer calls for each input. Anything but a return is a finding.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    _ = decodeForFuzzing([UInt8](UnsafeBufferPointer(start: start, count: count)))
    return 0
}
