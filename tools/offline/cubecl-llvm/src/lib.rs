//! The part of CubeCL's LLVM compiler that its CUDA runtime names, without LLVM.
//!
//! The CUDA runtime always contains two compilers: CUDA C++ through NVRTC, and LLVM. The second needs an archive that
//! its build script downloads. Here it is a compiler that refuses every kernel and says what to do instead, so that the
//! first can be built and used alone. Modules that only LLVM could have made hold [`Infallible`]: they cannot exist.

use std::convert::Infallible;
use std::ffi::c_char;
use std::fmt;

use cubecl_core::Compiler;
use cubecl_core::ir::nvidia::SmArch;
use cubecl_core::prelude::KernelDefinition;
use cubecl_environment::backtrace::BackTrace;
use cubecl_runtime::compiler::CompilationError;
use cubecl_runtime::kernel::BufferIOAttr;

const REFUSAL: &str = "this binary was built without LLVM (tools/offline): \
     build it with the feature `cuda-nvrtc`, which compiles CUDA kernels through NVRTC";

/// NVIDIA's side of the LLVM compiler.
pub mod nvptx {
    /// Versions of PTX, the assembly that a driver loads.
    pub mod ptx_version {
        use std::fmt;

        /// A version of PTX. Only LLVM emits one, so that here none is ever chosen.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct PtxVersion(std::convert::Infallible);

        impl PtxVersion {
            /// The version for a driver of the given CUDA version: none.
            pub fn for_driver(_cuda: i32) -> Option<Self> {
                None
            }
        }

        impl fmt::Display for PtxVersion {
            fn fmt(&self, _formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 {}
            }
        }
    }
}

/// What the targets share.
pub mod shared {
    /// What a device advertises, narrowed to what a compiler can do.
    pub mod lowered_features {
        use cubecl_core::ir::DeviceProperties;

        /// The kind of device whose properties are narrowed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum GpuTarget {
            /// NVIDIA.
            Nvptx,
        }

        /// Leaves the properties as they are: no kernel will get as far as using them.
        pub fn restrict_features(_properties: &mut DeviceProperties, _target: GpuTarget) {}
    }
}

/// The device family that a compiler would write for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LlvmTarget {
    /// The host.
    #[default]
    Cpu,
    /// NVIDIA.
    Nvptx,
}

/// The compiler that refuses.
#[derive(Clone, Debug, Default)]
pub struct PlironCompiler {
    /// The device family, of no effect.
    pub target: LlvmTarget,
}

/// Its options, of no effect.
#[derive(Clone, Debug, Default)]
pub struct PlironOptions {
    /// AMD's architecture: never set by the CUDA runtime.
    pub arch: Option<Infallible>,
    /// NVIDIA's architecture.
    pub sm_arch: Option<SmArch>,
    /// The version of PTX to emit.
    pub ptx_version: Option<nvptx::ptx_version::PtxVersion>,
    /// Whether scalars travel in the launch parameters.
    pub grid_constants: bool,
}

/// A compiled module for NVIDIA: none exists.
#[derive(Clone, Debug)]
pub struct NvptxModule {
    /// PTX with a closing NUL.
    pub ptx: Vec<c_char>,
    /// The kernel's name.
    pub entrypoint: String,
    /// The intermediate representation, for logs.
    pub ir: String,
    /// Bytes of shared memory that a launch reserves.
    pub shared_memory_size: usize,
    /// What the kernel does with each buffer.
    pub io: Vec<BufferIOAttr>,
    /// No value of this type can be made.
    pub never: Infallible,
}

/// A compiled kernel: none exists.
#[derive(Clone, Debug)]
pub enum PlironArtifact {
    /// For NVIDIA.
    NvptxCode(NvptxModule),
}

impl fmt::Display for PlironArtifact {
    fn fmt(&self, _formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::NvptxCode(module) = self;
        match module.never {}
    }
}

impl Compiler for PlironCompiler {
    type Representation = PlironArtifact;
    type CompilationOptions = PlironOptions;

    fn compile(&mut self, _: KernelDefinition, _: &PlironOptions) -> Result<PlironArtifact, CompilationError> {
        Err(CompilationError::Generic { reason: REFUSAL.into(), backtrace: BackTrace::capture() })
    }

    fn extension(&self) -> &'static str {
        "ll"
    }

    fn lang_tag(&self) -> &'static str {
        "llvm"
    }
}
