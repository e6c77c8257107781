import Signing

/// Keys that are made once a run, because making an RSA key takes a while.
enum TestKeys {
    static let rsa = Result { try PrivateKey.generate(.rsa(bits: 2_048)) }
    static let otherRSA = Result { try PrivateKey.generate(.rsa(bits: 2_048)) }
    static let ec = Result { try PrivateKey.generate(.ecP384) }
}
