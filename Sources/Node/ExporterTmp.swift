internal import CCNx
internal import Control
internal import Failures
internal import Templates
struct Exporter {
    init(templates: Templates) {}
    func export(
        _ name: Name, version number: Int?, disk: String?, to path: String, format: String,
        overwrite: Bool, session: any ControlSession
    ) async throws(Failure) -> Export { throw Failure(.unsupported, "soon") }
}
