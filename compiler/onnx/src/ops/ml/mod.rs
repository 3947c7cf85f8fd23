//! Operators of ai.onnx.ml: what converters of classical models write. They are composed of graph ops, so that they fuse and run
//! on every target.

mod feature;
mod labels;
mod linear;
mod post;
mod svm;
mod trees;
mod walk;

use super::row::*;

rows! {
    "ArrayFeatureExtractor" ANY..NOW (2, 2) feature::array_feature_extractor;
    "Binarizer" ANY..NOW (1, 1) feature::binarizer;
    "CategoryMapper" ANY..NOW (1, 1) labels::category_mapper;
    "FeatureVectorizer" ANY..NOW (1, MANY) feature::feature_vectorizer;
    "Imputer" ANY..NOW (1, 1) feature::imputer;
    "LabelEncoder" ANY..NOW (1, 1) labels::label_encoder;
    "LinearClassifier" ANY..NOW (1, 1) linear::classifier;
    "LinearRegressor" ANY..NOW (1, 1) linear::regressor;
    "Normalizer" ANY..NOW (1, 1) feature::normalizer;
    "OneHotEncoder" ANY..NOW (1, 1) labels::one_hot_encoder;
    "SVMClassifier" ANY..NOW (1, 1) svm::classifier;
    "SVMRegressor" ANY..NOW (1, 1) svm::regressor;
    "Scaler" ANY..NOW (1, 1) feature::scaler;
    "TreeEnsemble" 5..NOW (1, 1) trees::ensemble;
    "TreeEnsembleClassifier" ANY..NOW (1, 1) trees::classifier;
    "TreeEnsembleRegressor" ANY..NOW (1, 1) trees::regressor;
    "ZipMap" ANY..NOW (1, 1) labels::zip_map;
}
