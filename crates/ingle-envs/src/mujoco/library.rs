//! `MuJoCo`'s shared library, loaded at run time: the only module with unsafe code.
//!
//! # Why this is sound
//!
//! 1. *The library is what it says it is.* Loading one runs its initialisers. The user names it, or has it in
//!    their Python environment, which would load the same file.
//! 2. *Signatures.* Only functions of the documented C interface are called, with the signatures of its headers,
//!    which did not change from 3.3 to 4.0 (the versions tried). Structures of C are never looked into, so their
//!    layout, which does change, does not matter: state goes through `mj_getState` and `mj_setState`, derived
//!    quantities come by name from `mjb_output`. The one structure passed is `mjBatchConfig`, filled in by the
//!    library's own `mjb_defaultConfig` in a buffer that is larger than it.
//! 3. *Pointers.* A function pointer is valid for ever, because a library is never unloaded (it is leaked). Every
//!    pointer that the library returns is checked for null, has one owner here and is freed by it once. A model
//!    outlives its simulations, which hold an [`Arc`] of it.
//! 4. *Lengths.* Every buffer has the length that `mj_stateSize` gives for the same bits, or that `mjb_output`
//!    gave for the field; what comes from outside is checked against it.
//! 5. *Threads.* A model is only read once it is loaded, which `MuJoCo` allows from any number of threads; a
//!    simulation is used through `&mut` only. Loading is done under a lock.
//! 6. *Errors of the library.* Its plain functions end the process when memory runs out or a caller breaks the
//!    interface; they never return into a half-done call. In a batch the library may unwind through
//!    [`perform`], which is declared to let that pass and has nothing to drop.

#![expect(unsafe_code, reason = "calls into a C library")]

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_uchar, c_void};
use std::path::{Path, PathBuf};
use std::ptr::{NonNull, null};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The version whose trajectories the environments are compared with.
const CHECKED_VERSION: &str = "3.17.0";

/// Bits of `mjtState`. These three are the same in all versions; see [`Model::bits`] for the others.
const QPOS: c_int = 1 << 1;
const QVEL: c_int = 1 << 2;
const ACT: c_int = 1 << 3;

/// How many characters of an error message are taken. Buffers have one more, which stays zero.
const ERROR_LENGTH: c_int = 999;

/// `mjOBJ_BODY`.
const BODY: c_int = 1;

type Object = *mut c_void;
type Perform = unsafe extern "C-unwind" fn(Object, Object, c_int, *mut c_void);

/// The functions that every environment needs.
struct Functions {
    load_xml: unsafe extern "C" fn(*const c_char, *const c_void, *mut c_char, c_int) -> Object,
    delete_model: unsafe extern "C" fn(Object),
    make_data: unsafe extern "C" fn(Object) -> Object,
    delete_data: unsafe extern "C" fn(Object),
    reset_data: unsafe extern "C-unwind" fn(Object, Object),
    forward: unsafe extern "C-unwind" fn(Object, Object),
    step: unsafe extern "C-unwind" fn(Object, Object),
    rne_post_constraint: unsafe extern "C-unwind" fn(Object, Object),
    state_size: unsafe extern "C" fn(Object, c_int) -> c_int,
    get_state: unsafe extern "C-unwind" fn(Object, Object, *mut f64, c_int),
    set_state: unsafe extern "C-unwind" fn(Object, Object, *const f64, c_int),
    name_to_id: unsafe extern "C" fn(Object, c_int, *const c_char) -> c_int,
    local_to_global:
        unsafe extern "C-unwind" fn(Object, *mut f64, *mut f64, *const f64, *const f64, c_int, c_uchar),
}

/// The functions that give derived quantities by name (3.17 and later).
struct BatchFunctions {
    default_config: unsafe extern "C" fn(*mut BatchConfig),
    make: unsafe extern "C" fn(Object, c_int, *const BatchConfig, *mut c_char, c_int) -> Object,
    delete: unsafe extern "C" fn(Object),
    apply: unsafe extern "C" fn(Object, *const c_int, c_int, Perform, *mut c_void, c_int) -> c_int,
    forward: unsafe extern "C" fn(Object, *const c_int, c_int, c_int) -> c_int,
    output: unsafe extern "C" fn(Object, *const c_char, *mut c_int, *mut c_int) -> *const f64,
    expand: unsafe extern "C" fn(Object, *const c_char, *mut c_int, *mut c_int) -> *const f64,
}

/// `mjBatchConfig`, with room for members that later versions may add.
#[repr(C)]
struct BatchConfig {
    threads: c_int,
    persistent: c_uchar,
    room: [u64; 32],
}

/// A loaded library. It is never unloaded.
pub(crate) struct Library {
    path: PathBuf,
    version: String,
    functions: Functions,
    batch: Option<BatchFunctions>,
}

/// Every library that was loaded, so that each is loaded and announced once. The lock is also held while a model
/// is loaded.
static LIBRARIES: Mutex<Option<HashMap<PathBuf, &'static Library>>> = Mutex::new(None);

impl Library {
    /// Loads the library at `path`, or returns the one that was loaded from there.
    pub(crate) fn open(path: &Path) -> Result<&'static Self, String> {
        let mut libraries = LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner);
        let libraries = libraries.get_or_insert_default();
        if let Some(library) = libraries.get(path) {
            return Ok(library);
        }
        let library: &'static Self = Box::leak(Box::new(Self::load(path)?));
        libraries.insert(path.to_owned(), library);
        Ok(library)
    }

    fn load(path: &Path) -> Result<Self, String> {
        // SAFETY: (1) of the module's argument.
        let library = unsafe { libloading::Library::new(path) }
            .map_err(|error| format!("cannot load {}: {error}", path.display()))?;
        // (3): what is looked up below stays valid for ever.
        let library: &'static libloading::Library = Box::leak(Box::new(library));
        macro_rules! symbol {
            ($name:literal) => {
                // SAFETY: (2); the type is that of the field it is put into.
                *unsafe { library.get(concat!($name, "\0").as_bytes()) }
                    .map_err(|_| format!("{} has no function `{}`", path.display(), $name))?
            };
        }
        let functions = Functions {
            load_xml: symbol!("mj_loadXML"),
            delete_model: symbol!("mj_deleteModel"),
            make_data: symbol!("mj_makeData"),
            delete_data: symbol!("mj_deleteData"),
            reset_data: symbol!("mj_resetData"),
            forward: symbol!("mj_forward"),
            step: symbol!("mj_step"),
            rne_post_constraint: symbol!("mj_rnePostConstraint"),
            state_size: symbol!("mj_stateSize"),
            get_state: symbol!("mj_getState"),
            set_state: symbol!("mj_setState"),
            name_to_id: symbol!("mj_name2id"),
            local_to_global: symbol!("mj_local2Global"),
        };
        let batch = || -> Result<BatchFunctions, String> {
            Ok(BatchFunctions {
                default_config: symbol!("mjb_defaultConfig"),
                make: symbol!("mjb_makeBatch"),
                delete: symbol!("mjb_deleteBatch"),
                apply: symbol!("mjb_apply"),
                forward: symbol!("mjb_forward"),
                output: symbol!("mjb_output"),
                expand: symbol!("mjb_expand"),
            })
        };
        let batch = batch().ok();
        let version: unsafe extern "C" fn() -> *const c_char = symbol!("mj_versionString");
        // SAFETY: (2); the string is static in the library.
        let version = unsafe { CStr::from_ptr(version()) }.to_string_lossy().into_owned();
        // Warnings (a simulation that diverged and was reset) go to the log; by default they would go to standard
        // error and into a file in the current directory.
        // SAFETY: (2); the lock is held and no simulation of this library exists yet, so nobody reads the variable.
        unsafe {
            if let Ok(handler) =
                library.get::<*mut Option<unsafe extern "C" fn(*const c_char)>>(b"mju_user_warning\0")
                && !handler.is_null()
            {
                **handler = Some(warn);
            }
        }
        if version != CHECKED_VERSION {
            tracing::warn!(
                "MuJoCo {version} from {}: these environments are checked with {CHECKED_VERSION}; \
                 trajectories of other versions part from its own after some time",
                path.display()
            );
        }
        Ok(Self { path: path.to_owned(), version, functions, batch })
    }

    /// The version, as `3.17.0`.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether a model is being loaded.
static LOADING: AtomicBool = AtomicBool::new(false);

unsafe extern "C" fn warn(message: *const c_char) {
    if !message.is_null() {
        // SAFETY: `MuJoCo` passes a string that ends with a zero.
        let message = unsafe { CStr::from_ptr(message) }.to_string_lossy();
        // What it thinks of a model file is of no use to whoever trains with it.
        if LOADING.load(Ordering::Relaxed) {
            tracing::debug!("MuJoCo: {message}");
        } else {
            tracing::warn!("MuJoCo: {message}");
        }
    }
}

/// A loaded model, shared by its simulations.
pub(crate) struct Model {
    library: &'static Library,
    object: NonNull<c_void>,
    sizes: Sizes,
    /// The bit of `mjSTATE_CTRL`.
    control: c_int,
    /// The bits of `mjSTATE_INTEGRATION`: everything that a step depends on.
    integration: c_int,
}

/// How many positions, velocities and controls a model has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) positions: usize,
    pub(crate) velocities: usize,
    pub(crate) controls: usize,
}

// SAFETY: (5): a model is only read, by any number of threads.
unsafe impl Send for Model {}
// SAFETY: as above.
unsafe impl Sync for Model {}

impl Model {
    /// Loads a model file that must have these sizes.
    pub(crate) fn load(library: &'static Library, path: &Path, sizes: Sizes) -> Result<Self, String> {
        let _loading = LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner);
        let name = CString::new(path.as_os_str().as_encoded_bytes())
            .map_err(|_| format!("{} is not a file name", path.display()))?;
        let mut error: [c_char; ERROR_LENGTH as usize + 1] = [0; _];
        // SAFETY: (2); `error` is as long as it is said to be, and ends with a zero whatever is written.
        let object = unsafe {
            let object =
                (library.functions.load_xml)(name.as_ptr(), null(), error.as_mut_ptr(), ERROR_LENGTH);
            NonNull::new(object).ok_or_else(|| {
                let reason = CStr::from_ptr(error.as_ptr()).to_string_lossy();
                format!("cannot load the model {}: {}", path.display(), reason.trim())
            })?
        };
        let mut model = Self { library, object, sizes, control: 0, integration: 0 };
        let (control, integration) = model.bits();
        (model.control, model.integration) = (control, integration);
        let found = Sizes {
            positions: model.size(QPOS),
            velocities: model.size(QVEL),
            controls: model.size(control),
        };
        if found != sizes || model.size(ACT) != 0 {
            return Err(format!(
                "the model {} has {} positions, {} velocities and {} controls, expected {}, {} and {}",
                path.display(),
                found.positions,
                found.velocities,
                found.controls,
                sizes.positions,
                sizes.velocities,
                sizes.controls
            ));
        }
        Ok(model)
    }

    /// The bits for the controls and for everything that a step depends on. A version around 3.5 put one more bit
    /// before them; which side of it a library is on shows in the size that the bits stand for: before it, bit 5
    /// is for the controls, and after it for accelerations, of which a model has as many as velocities.
    fn bits(&self) -> (c_int, c_int) {
        if self.size(1 << 5) == self.sizes.velocities && self.size(1 << 6) == self.sizes.controls {
            (1 << 6, (1 << 14) - 1)
        } else {
            (1 << 5, (1 << 13) - 1)
        }
    }

    fn size(&self, bits: c_int) -> usize {
        // SAFETY: (2), (3).
        let size = unsafe { (self.library.functions.state_size)(self.object.as_ptr(), bits) };
        usize::try_from(size).unwrap_or(0)
    }

    /// The number of the body with this name.
    pub(crate) fn body(&self, name: &CStr) -> Result<c_int, String> {
        // SAFETY: (2), (3).
        let id = unsafe { (self.library.functions.name_to_id)(self.object.as_ptr(), BODY, name.as_ptr()) };
        if id < 0 { Err(format!("the model has no body {name:?}")) } else { Ok(id) }
    }

    /// A field of the model by its name in C, copied.
    pub(crate) fn field(&self, name: &CStr) -> Result<Vec<f64>, String> {
        let batch = Batch::new(self)?;
        let (pointer, length) = batch.look_up(batch.functions.expand, name)?;
        // SAFETY: (4); the batch lives to the end of this function.
        Ok(unsafe { std::slice::from_raw_parts(pointer.as_ptr(), length) }.to_vec())
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: (3).
        unsafe { (self.library.functions.delete_model)(self.object.as_ptr()) }
    }
}

/// A batch of one simulation in the calling thread.
struct Batch {
    functions: &'static BatchFunctions,
    object: NonNull<c_void>,
}

impl Batch {
    fn new(model: &Model) -> Result<Self, String> {
        let Library { batch, path, version, .. } = model.library;
        let functions = batch.as_ref().ok_or_else(|| {
            format!(
                "it reads quantities by name, which needs MuJoCo 3.17 or later; {} is {version}",
                path.display()
            )
        })?;
        let mut config = BatchConfig { threads: 1, persistent: 1, room: [0; 32] };
        let mut error: [c_char; ERROR_LENGTH as usize + 1] = [0; _];
        // SAFETY: (2); the batch copies the model.
        let object = unsafe {
            (functions.default_config)(&raw mut config);
            (config.threads, config.persistent) = (1, 1);
            (functions.make)(model.object.as_ptr(), 1, &raw const config, error.as_mut_ptr(), ERROR_LENGTH)
        };
        // SAFETY: `error` ends with a zero whatever is written.
        let object = NonNull::new(object)
            .ok_or_else(|| unsafe { CStr::from_ptr(error.as_ptr()) }.to_string_lossy().into_owned())?;
        Ok(Self { functions, object })
    }

    /// Where a field of numbers is, and how many there are.
    fn look_up(
        &self,
        function: unsafe extern "C" fn(Object, *const c_char, *mut c_int, *mut c_int) -> *const f64,
        name: &CStr,
    ) -> Result<(NonNull<f64>, usize), String> {
        let (mut size, mut element) = (0, 0);
        // SAFETY: (2), (3).
        let pointer =
            unsafe { function(self.object.as_ptr(), name.as_ptr(), &raw mut size, &raw mut element) };
        match (NonNull::new(pointer.cast_mut()), usize::try_from(size)) {
            (Some(pointer), Ok(size)) if element as usize == size_of::<f64>() => Ok((pointer, size)),
            _ => Err(format!("this version of MuJoCo has no numbers called {name:?}")),
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // SAFETY: (3).
        unsafe { (self.functions.delete)(self.object.as_ptr()) }
    }
}

/// Where a simulation's data is.
enum Data {
    /// Data of our own: quantities that are part of the state.
    Own(NonNull<c_void>),
    /// A batch of one, which also gives derived quantities by name.
    Batch(Batch),
}

/// What is read after every call, besides the state.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reads<'a> {
    /// Bodies whose positions are read.
    pub(crate) bodies: &'a [&'a CStr],
    /// Fields of the data, by their names in C. They need `MuJoCo` 3.17.
    pub(crate) fields: &'a [&'a CStr],
}

/// One simulation of a model.
pub(crate) struct Simulation {
    data: Data,
    bodies: Vec<c_int>,
    fields: Vec<(NonNull<f64>, usize)>,
    /// Everything that a step depends on: the time, positions, velocities, and so on.
    state: Vec<f64>,
    body_positions: Vec<[f64; 3]>,
    model: Arc<Model>,
}

// SAFETY: (5): nothing in a simulation is bound to a thread, and it is used through `&mut`.
unsafe impl Send for Simulation {}

/// One call into a simulation: plain references and numbers, nothing to drop.
struct Call<'a> {
    model: &'a Model,
    action: Action<'a>,
    bodies: &'a [c_int],
    state: &'a mut [f64],
    body_positions: &'a mut [[f64; 3]],
}

#[derive(Clone, Copy)]
enum Action<'a> {
    /// The initial state of the model.
    Initial,
    /// Positions and velocities, everything else as initially.
    Start(&'a [f64]),
    Step {
        control: &'a [f64],
        count: usize,
        contact_forces: bool,
    },
    Restore(&'a [f64]),
}

impl Simulation {
    /// A simulation in the model's initial state.
    pub(crate) fn new(model: Arc<Model>, reads: Reads<'_>) -> Result<Self, String> {
        let bodies = reads.bodies.iter().map(|name| model.body(name)).collect::<Result<Vec<_>, _>>()?;
        let (data, fields) = if reads.fields.is_empty() {
            // SAFETY: (2), (3).
            let data = unsafe { (model.library.functions.make_data)(model.object.as_ptr()) };
            (Data::Own(NonNull::new(data).ok_or("MuJoCo has no memory for a simulation")?), Vec::new())
        } else {
            let batch = Batch::new(&model)?;
            let look_up = |name: &&CStr| batch.look_up(batch.functions.output, name);
            // Twice: asking for a field could move those that were asked for before.
            reads.fields.iter().try_for_each(|name| look_up(name).map(|_| ()))?;
            let fields = reads.fields.iter().map(look_up).collect::<Result<_, _>>()?;
            (Data::Batch(batch), fields)
        };
        let mut simulation = Self {
            data,
            body_positions: vec![[0.0; 3]; bodies.len()],
            bodies,
            fields,
            state: vec![0.0; model.size(model.integration)],
            model,
        };
        simulation.call(Action::Initial)?;
        Ok(simulation)
    }

    /// Begins anew from positions and velocities, one after the other.
    ///
    /// # Panics
    /// If there are not as many numbers as the model has.
    pub(crate) fn start(&mut self, positions_and_velocities: &[f64]) -> Result<(), String> {
        let Sizes { positions, velocities, .. } = self.model.sizes;
        assert_eq!(positions_and_velocities.len(), positions + velocities);
        self.call(Action::Start(positions_and_velocities))
    }

    /// Takes `count` steps with these controls, and then computes the contact forces if asked for.
    ///
    /// # Panics
    /// If there are not as many numbers as the model has controls.
    pub(crate) fn step(&mut self, control: &[f64], count: usize, contact_forces: bool) -> Result<(), String> {
        assert_eq!(control.len(), self.model.sizes.controls);
        self.call(Action::Step { control, count, contact_forces })
    }

    /// Everything that a step depends on.
    pub(crate) fn state(&self) -> &[f64] {
        &self.state
    }

    /// Goes back to a [`state`](Self::state). Derived quantities are those of the state, not those of the last step.
    pub(crate) fn restore(&mut self, state: &[f64]) -> Result<(), String> {
        if state.len() != self.state.len() {
            return Err(format!("{} numbers, expected {}", state.len(), self.state.len()));
        }
        self.call(Action::Restore(state))
    }

    /// The library that simulates.
    pub(crate) fn library(&self) -> &'static Library {
        self.model.library
    }

    /// The simulated time (s).
    pub(crate) fn time(&self) -> f64 {
        self.state[0]
    }

    /// The generalised positions.
    pub(crate) fn positions(&self) -> &[f64] {
        &self.state[1..=self.model.sizes.positions]
    }

    /// The generalised velocities.
    pub(crate) fn velocities(&self) -> &[f64] {
        &self.state[1 + self.model.sizes.positions..][..self.model.sizes.velocities]
    }

    /// Where the body at `index` of [`Reads::bodies`] is.
    pub(crate) fn body_position(&self, index: usize) -> [f64; 3] {
        self.body_positions[index]
    }

    /// The field at `index` of [`Reads::fields`].
    pub(crate) fn field(&self, index: usize) -> &[f64] {
        let (pointer, length) = self.fields[index];
        // SAFETY: (4); the batch owns the numbers, and only writes them in a call through `&mut self`.
        unsafe { std::slice::from_raw_parts(pointer.as_ptr(), length) }
    }

    fn call(&mut self, action: Action<'_>) -> Result<(), String> {
        let Self { data, bodies, state, body_positions, model, .. } = self;
        let mut call = Call { model, action, bodies, state, body_positions };
        let argument = (&raw mut call).cast();
        match data {
            Data::Own(data) => {
                // SAFETY: (2), (3); `argument` is a `Call` that nobody else holds.
                unsafe { perform(call.model.object.as_ptr(), data.as_ptr(), 0, argument) };
                Ok(())
            }
            Data::Batch(batch) => {
                let object = batch.object.as_ptr();
                // SAFETY: as above. With no stage to compute, `forward` only copies the fields out.
                let failed = unsafe {
                    (batch.functions.apply)(object, null(), 0, perform, argument, 1) != 0
                        || (batch.functions.forward)(object, null(), 0, 0) != 0
                };
                if failed { Err("MuJoCo gave up on the simulation".to_owned()) } else { Ok(()) }
            }
        }
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        if let Data::Own(data) = &self.data {
            // SAFETY: (3).
            unsafe { (self.model.library.functions.delete_data)(data.as_ptr()) }
        }
    }
}

/// Does a [`Call`] with a model and data.
///
/// # Safety
/// `model` and `data` belong together and to the call's library and model (or a copy of it); `argument` is a `Call`,
/// whose slices have the lengths that the model asks for.
unsafe extern "C-unwind" fn perform(model: Object, data: Object, _: c_int, argument: *mut c_void) {
    // SAFETY: what the caller promises, and (4).
    unsafe {
        let call = &mut *argument.cast::<Call<'_>>();
        let functions = &call.model.library.functions;
        match call.action {
            Action::Initial => (functions.reset_data)(model, data),
            Action::Start(state) => {
                (functions.reset_data)(model, data);
                (functions.set_state)(model, data, state.as_ptr(), QPOS | QVEL);
                (functions.forward)(model, data);
            }
            Action::Step { control, count, contact_forces } => {
                (functions.set_state)(model, data, control.as_ptr(), call.model.control);
                for _ in 0..count {
                    (functions.step)(model, data);
                }
                if contact_forces {
                    (functions.rne_post_constraint)(model, data);
                }
            }
            Action::Restore(state) => {
                (functions.reset_data)(model, data);
                (functions.set_state)(model, data, state.as_ptr(), call.model.integration);
            }
        }
        (functions.get_state)(model, data, call.state.as_mut_ptr(), call.model.integration);
        for (&body, position) in call.bodies.iter().zip(call.body_positions.iter_mut()) {
            let (origin, upright) = ([0.0; 3], [1.0, 0.0, 0.0, 0.0]);
            let mut rotation = [0.0; 9];
            (functions.local_to_global)(
                data,
                position.as_mut_ptr(),
                rotation.as_mut_ptr(),
                origin.as_ptr(),
                upright.as_ptr(),
                body,
                0,
            );
        }
    }
}

const _: () = assert!(size_of::<c_int>() == 4, "`mjtState` is an int of 32 bits");
