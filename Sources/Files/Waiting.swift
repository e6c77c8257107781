/// Waits for what nobody tells of by looking at it again and again. A task that is cancelled waits as long as another.
///
/// - Parameters:
///   - patience: how long at most.
///   - pause: between two looks.
/// - Returns: whether it came to pass.
@discardableResult
package func waitUntil(
    within patience: Duration,
    every pause: Duration,
    _ isMet: @Sendable () -> Bool
) async -> Bool {
    let deadline = ContinuousClock.now + patience
    while !isMet() {
        guard ContinuousClock.now < deadline else { return false }
        // A sleep of this task would end at once when it is cancelled.
        await Task { try? await Task.sleep(for: pause) }.value
    }
    return true
}
