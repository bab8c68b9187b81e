/** The 32-bit word of the payload that says how many rounds it works. */
const roundsAt = 506;

/** Assembled from calibration.s: 410 bytes of code and tables, zeros, the rounds (none), and the boot signature. */
export const calibrationPayload: Buffer = Buffer.concat([
  Buffer.from(
    "fa31c08ed88ec08ed0bc007cfcbf0010b90028f3abc70600100320c706002003" +
      "30c70600308300c70608300350c706e0404a7dc706e2400800c706e440008e0f" +
      "20e00c200f22e066b8001000000f22d866b9800000c00f32660d000100000f30" +
      "0f0116907d0f011e967d0f20c0660d010000800f22c0ea7b7c0800b810000000" +
      "8ed88ec08ed0bc00900000448b3c25fa7d000041ffcf0f88a7000000bf005000" +
      "0031c0b900020000f348ab0f20d80f22d8bf00002000b900020000890f81c700" +
      "100000ffc975f4bf0000200048b8480501000000eb00b900020000f348abc607" +
      "c3bd18000000bb00002000ffd3ffcd75f5b9204e000069c00d661900055ff36e" +
      "3c89c3c1eb0c0183f0ff2f00ffc975e683c801b93075000089c2c1e20d31d089" +
      "c2c1ea1131d089c2c1e20531d0a8017405e809000000ffc975dee954ffffff48" +
      "01c6c3b02ae6f4f4ebfd50530f20d02500f0ffff89c3c1eb0c81e3ff01000083" +
      "c803488904dd005000005b584883c40848cf660f1f4400000000000000000000" +
      "ffff0000009aaf00ffff00000092cf001700787d0000ff000040",
    "hex",
  ),
  Buffer.alloc(100),
  Buffer.from([0x55, 0xaa]),
]);

/** The boot sector that works so many rounds and then ends QEMU with code 85. */
export function bootSector(rounds: number): Buffer {
  const image = Buffer.from(calibrationPayload);
  image.writeUInt32LE(rounds, roundsAt);
  return image;
}
